//! curl, as people use it.

use std::process::{Command, Stdio};

use super::http::Answer;

/// What curl gets with these arguments; `https://localhost/` is at `port`.
///
/// # Errors
/// What curl complains of.
pub(crate) fn curl(port: u16, arguments: &[&str]) -> Result<Answer, String> {
    let output = Command::new("curl")
        .args(["-sS", "-i", "--max-time", "15"])
        .args(["--connect-to", &format!("localhost:443:127.0.0.1:{port}")])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("curl cannot be run: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let raw = String::from_utf8_lossy(&output.stdout);
    let (head, body) = raw.split_once("\r\n\r\n").ok_or_else(|| format!("no answer: {raw:?}"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| format!("no status: {head:?}"))?;
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
}
