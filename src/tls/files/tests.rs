//! Files that come, change, break and go.
