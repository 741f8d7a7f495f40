//! How a row of the command table is written down: a constant expression that reads like the
//! command's own documentation.

use super::flags::Flags;
use super::group::Group;
use super::key_spec::KeySpec;
use super::policy::{Local, Policy, RequestPolicy, ResponsePolicy, Split, Unsupported};
use super::{Argument, Command};

/// A command that is forwarded to the shard of its keys.
pub(super) const fn row(
    name: &'static str,
    arity: i16,
    since: &'static str,
    flags: u32,
    key_specs: &'static [KeySpec],
) -> Command {
    Command {
        name,
        arity,
        // Where it is listed tells.
        group: Group::Generic,
        flags: Flags(flags),
        key_specs,
        policy: Policy::SingleShard,
        request_policy: RequestPolicy::Default,
        response_policy: ResponsePolicy::Default,
        argument: Argument::None,
        known_to_0_5: false,
        since,
        id: 0,
        subcommands: 0,
        sole_key: 0,
    }
}

impl Command {
    /// One of the 137 words of twemproxy 0.5.
    pub(super) const fn in_0_5(self) -> Self {
        Self { known_to_0_5: true, ..self }
    }

    /// Redis' own tips about requests and replies.
    pub(super) const fn tips(self, request: RequestPolicy, response: ResponsePolicy) -> Self {
        Self { request_policy: request, response_policy: response, ..self }
    }

    pub(super) const fn split(self, split: Split) -> Self {
        Self { policy: Policy::Split(split), ..self }
    }

    pub(super) const fn keyless(self) -> Self {
        Self { policy: Policy::Keyless, ..self }
    }

    pub(super) const fn local(self, local: Local) -> Self {
        Self { policy: Policy::Local(local), ..self }
    }

    pub(super) const fn unsupported(self, need: Unsupported) -> Self {
        Self { policy: Policy::Unsupported(need), ..self }
    }

    /// Its policy depends on an argument.
    pub(super) const fn depends_on(self, argument: Argument) -> Self {
        Self { argument, ..self }
    }
}
