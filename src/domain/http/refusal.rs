//! Why a request is not taken.

/// The fault that ends a request before it is routed. `Display` is for the
/// client; [`Refusal::reason`] is for the access log.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    #[error("the head holds a carriage return that ends no line")]
    BareCr,
    #[error("the head holds a line that does not end with CRLF")]
    BareLf,
    #[error("a header field is folded over two lines")]
    ObsFold,
    #[error("white space stands before the colon of a header field")]
    SpaceBeforeColon,
    #[error("the head holds a control character")]
    ControlCharacter,
    #[error("a header field has no valid name")]
    FieldName,
    #[error("white space stands around the value of a header field")]
    FieldValue,
    #[error("the request line cannot be read")]
    RequestLine,
    #[error("the HTTP version is not supported")]
    Version,
    #[error("the Host header is missing")]
    HostMissing,
    #[error("there is more than one Host header")]
    HostRepeated,
    #[error("the host is not a name or address with an optional port")]
    HostMalformed,
    #[error("the request target names another host than the Host header")]
    HostMismatch,
    #[error("the request has both Content-Length and Transfer-Encoding")]
    LengthWithEncoding,
    #[error("the request has two different Content-Length headers")]
    LengthRepeated,
    #[error("the Content-Length is not a number")]
    LengthMalformed,
    #[error("there is more than one Transfer-Encoding header")]
    EncodingRepeated,
    #[error("chunked is not the one and last transfer coding")]
    EncodingNotLast,
    #[error("the transfer coding is not supported")]
    EncodingUnknown,
    #[error("HTTP/1.0 has no Transfer-Encoding")]
    EncodingOnHttp10,
    #[error("there are too many header fields")]
    FieldsTooMany,
    #[error("the head is too large")]
    HeadTooLarge,
    #[error("the head took too long to arrive")]
    HeadTimeout,
    #[error("CONNECT is not supported")]
    Connect,
    #[error("the request target cannot be read")]
    Target,
    #[error("the path holds a broken percent escape")]
    BrokenEscape,
    #[error("the path holds an escaped NUL")]
    EscapedNul,
    #[error("the Connection header names a field that does not end here")]
    ConnectionNames,
    #[error("the size of a chunk cannot be read")]
    ChunkSize,
    #[error("a chunk does not end where its size says")]
    ChunkEnd,
    #[error("the chunk extensions are too long")]
    ChunkExtensions,
    #[error("a trailer field cannot be read")]
    Trailer,
    #[error("the trailers are too long")]
    TrailersTooLong,
}

impl Refusal {
    /// The word for it in the access log.
    pub fn reason(self) -> &'static str {
        match self {
            Self::BareCr => "bare_cr",
            Self::BareLf => "bare_lf",
            Self::ObsFold => "obs_fold",
            Self::SpaceBeforeColon => "space_before_colon",
            Self::ControlCharacter => "control_character",
            Self::FieldName => "bad_field_name",
            Self::FieldValue => "bad_field_value",
            Self::RequestLine => "bad_request_line",
            Self::Version => "bad_version",
            Self::HostMissing => "no_host",
            Self::HostRepeated => "host_repeated",
            Self::HostMalformed => "bad_host",
            Self::HostMismatch => "host_mismatch",
            Self::LengthWithEncoding => "length_with_encoding",
            Self::LengthRepeated => "length_repeated",
            Self::LengthMalformed => "bad_length",
            Self::EncodingRepeated => "encoding_repeated",
            Self::EncodingNotLast => "chunked_not_last",
            Self::EncodingUnknown => "encoding_unknown",
            Self::EncodingOnHttp10 => "encoding_on_http10",
            Self::FieldsTooMany => "too_many_fields",
            Self::HeadTooLarge => "head_too_large",
            Self::HeadTimeout => "head_timeout",
            Self::Connect => "connect_refused",
            Self::Target => "bad_target",
            Self::BrokenEscape => "broken_escape",
            Self::EscapedNul => "escaped_nul",
            Self::ConnectionNames => "connection_names_field",
            Self::ChunkSize => "bad_chunk_size",
            Self::ChunkEnd => "bad_chunk_end",
            Self::ChunkExtensions => "chunk_extensions_too_long",
            Self::Trailer => "bad_trailer",
            Self::TrailersTooLong => "trailers_too_long",
        }
    }

    /// The status of the answer (RFC 9110 §15, RFC 6585 §5).
    pub fn status(self) -> u16 {
        match self {
            Self::HeadTimeout => 408,
            Self::FieldsTooMany | Self::HeadTooLarge => 431,
            Self::Connect | Self::EncodingUnknown => 501,
            Self::Version => 505,
            Self::BareCr
            | Self::BareLf
            | Self::ObsFold
            | Self::SpaceBeforeColon
            | Self::ControlCharacter
            | Self::FieldName
            | Self::FieldValue
            | Self::RequestLine
            | Self::HostMissing
            | Self::HostRepeated
            | Self::HostMalformed
            | Self::HostMismatch
            | Self::LengthWithEncoding
            | Self::LengthRepeated
            | Self::LengthMalformed
            | Self::EncodingRepeated
            | Self::EncodingNotLast
            | Self::EncodingOnHttp10
            | Self::Target
            | Self::BrokenEscape
            | Self::EscapedNul
            | Self::ConnectionNames
            | Self::ChunkSize
            | Self::ChunkEnd
            | Self::ChunkExtensions
            | Self::Trailer
            | Self::TrailersTooLong => 400,
        }
    }
}
