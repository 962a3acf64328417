//! The HTTP/2 front (RFC 9113).

use std::rc::Rc;

use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;

use crate::proxy::request::Visitor;
use crate::proxy::resources::Resources;

/// Serves `stream`, of which `before` has been read already.
pub(super) async fn serve<S>(
    _resources: Rc<Resources>,
    _stream: S,
    _before: &[u8],
    visitor: Visitor,
) where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    debug!(peer = %visitor.ends.source, "HTTP/2 is not spoken");
}
