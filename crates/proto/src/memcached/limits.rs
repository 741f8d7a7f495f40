//! The bounds on what a peer may announce or send. Each is a refusal, never a reservation: nothing
//! is allocated because a peer announced it.

/// Most bytes of a key (memcached's own bound), and of its form in base64.
pub const KEY_BYTES_MAX: usize = 250;

/// Most bytes of the line of a request that is served, line end included. memcached closes a
/// connection on which it has read more without a line end, unless they begin with `get ` or `gets `:
/// a longer line would break the connection that others share. One byte more is allowed, the blank
/// behind the last key of a fragment.
pub const SERVED_LINE_BYTES_MAX: usize = 2048;

/// Most bytes of a line whose end is looked for, line end included.
pub const LINE_BYTES_MAX: usize = 8 * 1024;

/// Most bytes of the line of a `get` or `gets` for many keys, line end included.
pub const KEYS_LINE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Most keys of one request.
pub const KEYS_MAX: usize = 1024 * 1024;

/// Most bytes of a value (memcached's own bound: its length and a line end in 31 bits).
pub const VALUE_BYTES_MAX: u32 = i32::MAX as u32 - 2;

/// Most bytes of one line of a reply before its line end.
pub const REPLY_LINE_BYTES_MAX: usize = 8 * 1024;

/// Most bytes of one reply: offsets into a message are 32 bits wide.
pub const REPLY_BYTES_MAX: u64 = u32::MAX as u64;
