//! What a request is answered that is refused while its end is known, so that the connection lives on.

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No command has this name, or the line is empty.
    UnknownCommand,
    /// Too few or too many words.
    WrongArguments,
    /// A number that is none, or a word where it does not belong.
    BadFormat,
    /// A key above [`KEY_BYTES_MAX`](super::limits::KEY_BYTES_MAX).
    KeyTooLong,
    /// A byte below the blank, LF among them, or 0x7f: a server might read a line end into it.
    ControlByte,
    /// A key that is not the base64 that flag `b` says it is.
    BadKeyEncoding,
    /// A flag of a meta command that is there twice.
    DuplicateFlag,
    /// A flag of a meta command that is no letter.
    InvalidFlag,
    /// More flags than a server takes.
    TooManyFlags,
    /// A line above [`SERVED_LINE_BYTES_MAX`](super::limits::SERVED_LINE_BYTES_MAX).
    LineTooLong,
    /// A value above the pool's limit.
    TooLarge,
}

impl Refusal {
    /// The whole line that answers it, CR LF included; in memcached's own words where it has words
    /// for it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::UnknownCommand | Self::WrongArguments => "ERROR\r\n",
            Self::BadFormat | Self::KeyTooLong => "CLIENT_ERROR bad command line format\r\n",
            Self::ControlByte => "CLIENT_ERROR control byte in command line\r\n",
            Self::BadKeyEncoding => "CLIENT_ERROR error decoding key\r\n",
            Self::DuplicateFlag => "CLIENT_ERROR duplicate flag\r\n",
            Self::InvalidFlag => "CLIENT_ERROR invalid flag\r\n",
            Self::TooManyFlags => "CLIENT_ERROR options flags are too long\r\n",
            Self::LineTooLong => "CLIENT_ERROR line too long\r\n",
            Self::TooLarge => "SERVER_ERROR object too large for cache\r\n",
        }
    }
}
