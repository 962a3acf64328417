//! Which of two forms of an answer a client prefers.

use http::HeaderMap;
use http::header::ACCEPT;

/// Whether `Accept` names `special` with at least the weight of `usual`. A
/// wildcard means the usual form (RFC 9110, section 12.5.1).
pub(super) fn prefers(headers: &HeaderMap, special: &str, usual: &str) -> bool {
    let special = weight(headers, special);
    special > 0 && special >= weight(headers, usual)
}

/// The weight of a media type that is named, in thousandths; 0 if it is not.
fn weight(headers: &HeaderMap, media_type: &str) -> u16 {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let named = parts.next()?.eq_ignore_ascii_case(media_type);
            named.then(|| parts.find_map(quality).unwrap_or(1000))
        })
        .max()
        .unwrap_or(0)
}

fn quality(parameter: &str) -> Option<u16> {
    let (name, value) = parameter.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("q") {
        return None;
    }
    let quality: f32 = value.trim().parse().unwrap_or(0.0);
    Some((quality.clamp(0.0, 1.0) * 1000.0) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_special_form_is_chosen_only_when_it_is_named() {
        let table = [
            ("", false),
            ("*/*", false),
            ("application/json", true),
            ("Application/JSON; q=0.5", true),
            ("application/json, text/plain", true),
            ("application/json;q=0.3, text/plain;q=0.4", false),
            ("application/json;q=0", false),
            ("application/json;q=x", false),
            ("text/html, application/xhtml+xml, */*;q=0.8", false),
        ];
        for (accept, expected) in table {
            let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]);
            assert_eq!(prefers(&headers, "application/json", "text/plain"), expected, "{accept}");
        }
    }

    #[test]
    fn prometheus_gets_the_newer_format_by_what_it_sends() {
        let accept = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                      application/openmetrics-text;version=0.0.1;q=0.5,\
                      text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]);
        assert!(prefers(&headers, "application/openmetrics-text", "text/plain"));
    }
}
