//! The manual page nutcracker(8), made from the table of flags. Apart from the help text because it has a markup, and
//! more to say.

use std::fmt::Write as _;

use super::{FLAGS, Flag};

/// What a page of the manual says about its age. Packages want a page to be the same on every build.
const REVISED: &str = "2026-11-21";

const BEFORE: &str = r".SH NAME
nutcracker \- proxy that spreads keys over Redis or memcached servers
.SH SYNOPSIS
.B nutcracker
.RI [ option ...]\&
.br
.B nutcracker \-\-route
.I POOL
.RI [ option ...]\&
.RB [ \-\- ]
.IR KEY ...
.SH DESCRIPTION
.B nutcracker
takes the place of many Redis or memcached servers for clients that know of one.
Each pool of its configuration listens on an address.
The keys of a request decide which servers of the pool it goes to, over few
connections that all clients share.
It reads the configuration of twemproxy 0.5, answers its stats readers, and puts
every key where that put it.
.PP
Without an option that says otherwise it serves in the foreground and logs to
standard error.
.SH OPTIONS
Long options may be shortened as long as they stay unambiguous.
An option wins over the same setting under
.B global
in the configuration.
";

const AFTER: &str = include_str!("manual_after.man");

/// The whole page, in the markup of man(7).
pub fn manual() -> String {
    let mut page = String::from(
        ".\\\" Generated from the table of flags: run `UPDATE_DOCS=1 cargo test -p nutcracker --test dist`.\n",
    );
    let version = env!("CARGO_PKG_VERSION");
    // Writing to a string cannot fail.
    let _ = writeln!(page, ".TH NUTCRACKER 8 {REVISED} \"nutcracker {version}\"");
    page.push_str(BEFORE);
    for flag in &FLAGS {
        option(&mut page, flag);
    }
    page.push_str(AFTER);
    page
}

fn option(page: &mut String, flag: &Flag) {
    let long = format!("\\-\\-{}", escaped(flag.long));
    let argument =
        flag.argument.map_or(String::new(), |name| format!(" =\\fI{}\\fR", escaped(name)));
    let short = flag.short.map_or(String::new(), |letter| format!("\\-{letter} \", \" "));
    let _ = writeln!(page, ".TP\n.BR {short}{long}{argument}");
    let _ = writeln!(page, "{}.", sentence(&escaped(flag.doc)));
    if !flag.default.is_empty() {
        let _ = writeln!(page, "Default: {}.", escaped(flag.default));
    }
}

/// Hyphens become such as can be copied into a shell.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}
