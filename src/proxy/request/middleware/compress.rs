//! Compressing an answer.

use http::{Method, Response};
use http_body::Body;

use crate::domain::middleware::{Asked, Compression};
use crate::proxy::encoders::Encoders;
use crate::proxy::request::body::ResponseBody;
use crate::proxy::request::prepare::Prepared;

/// Compresses the answer if its client, its kind and its size allow it.
pub(super) fn over(
    settings: &Compression,
    encoders: &Encoders,
    prepared: &Prepared,
    response: &mut Response<ResponseBody>,
) {
    // The answer to HEAD says what that to GET would.
    let length = (prepared.method() != Method::HEAD).then(|| response.body().size_hint().exact());
    let asked = Asked { headers: prepared.headers(), length: length.flatten() };
    let status = response.status();
    let grant = |coding| encoders.begin(coding);
    if let Some((coding, room)) = settings.apply(asked, status, response.headers_mut(), grant) {
        response.body_mut().compress(coding, room);
    }
}
