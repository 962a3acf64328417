//! Rules over HTTP heads: what is refused, what ends here, what is passed on.
