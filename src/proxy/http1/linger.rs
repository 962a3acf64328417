//! Hearing a client out, so that it sees the answer rather than a reset.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::Limits;

/// Ends writing, then reads and forgets what the client still sends, for at
/// most `linger_time` and `linger_bytes_max`.
///
/// A socket closed with unread bytes in it is reset, and the reset may overtake
/// the answer (RFC 9112 §9.6).
pub async fn linger<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, limits: &Limits) {
    let hear_out = async {
        // Writing may have ended before; what counts is what is still read.
        let _ended = stream.shutdown().await;
        let mut left = limits.linger_bytes_max;
        let mut scratch = vec![0; SCRATCH_BYTES];
        while left > 0 {
            match stream.read(&mut scratch).await {
                Ok(0) | Err(_) => break,
                Ok(read) => left = left.saturating_sub(read),
            }
        }
    };
    let _in_time = timeout(limits.linger_time, hear_out).await;
}

const SCRATCH_BYTES: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::duplex;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn a_client_is_heard_until_it_ends() {
        let (mut client, mut server) = duplex(16);
        let sent = tokio::spawn(async move {
            client.write_all(&[0; 5_000]).await.unwrap();
            client.shutdown().await.unwrap();
            client.read(&mut [0; 1]).await.unwrap()
        });
        let began = Instant::now();
        linger(&mut server, &Limits::default()).await;
        assert_eq!(sent.await.unwrap(), 0, "the client saw the end of the answer");
        assert_eq!(began.elapsed(), std::time::Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_heard_for_its_time_only() {
        let (_client, mut server) = duplex(16);
        let began = Instant::now();
        linger(&mut server, &Limits::default()).await;
        assert_eq!(began.elapsed(), Limits::default().linger_time);
    }

    #[tokio::test(start_paused = true)]
    async fn a_talkative_client_is_heard_up_to_the_limit() {
        let (mut client, mut server) = duplex(1_000_000);
        client.write_all(&[0; 200_000]).await.unwrap();
        let limits = Limits { linger_bytes_max: 20_000, ..Limits::default() };
        linger(&mut server, &limits).await;
        let mut rest = Vec::new();
        drop(client);
        server.read_to_end(&mut rest).await.unwrap();
        assert!((170_000..=180_000).contains(&rest.len()), "{}", rest.len());
    }
}
