//! Just enough of a Redis client for the demo: pipelines of simple commands over one blocking connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// One connection.
pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    /// Connects within a few seconds.
    pub(crate) fn open(address: SocketAddr) -> Result<Connection> {
        let patience = Duration::from_secs(5);
        let stream = TcpStream::connect_timeout(&address, patience)
            .with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        Ok(Connection(BufReader::new(stream)))
    }

    /// Sends one command and returns its reply, a simple, integer or bulk one, as text.
    pub(crate) fn call(&mut self, words: &[&str]) -> Result<String> {
        self.send(words)?;
        self.reply()
    }

    /// Sends one command.
    pub(crate) fn send(&mut self, words: &[&str]) -> Result<()> {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request += &format!("${}\r\n{word}\r\n", word.len());
        }
        Ok(self.0.get_mut().write_all(request.as_bytes())?)
    }

    /// Reads one reply.
    pub(crate) fn reply(&mut self) -> Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let line = line.trim_end();
        match line.split_at_checked(1) {
            Some(("+" | ":", text)) => Ok(text.to_owned()),
            Some(("$", length)) => {
                let mut value = vec![0; length.parse::<usize>().context("a missing value")? + 2];
                self.0.read_exact(&mut value)?;
                value.truncate(value.len() - 2);
                Ok(String::from_utf8(value)?)
            }
            _ => bail!("unexpected reply `{line}`"),
        }
    }
}
