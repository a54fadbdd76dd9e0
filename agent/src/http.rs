//! HTTPS: one agent for all requests, so that connections are kept alive between them.

mod connector;
mod tls;

use std::time::Duration;

use anyhow::{Context, Result};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{ConnectProxyConnector, Connector, TcpConnector};
use ureq::{Agent, Proxy};

use crate::config::{self, Config};
use connector::TlsConnector;

/// Looking up a name and setting up a connection, each. Phones on bad links need seconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);

/// How many hops a request may be sent on.
const MAX_REDIRECTS: u32 = 10;

/// A client that speaks TLS only, trusts whom the configuration says, and never waits longer than
/// the stall time-out for the next byte. Statuses are the caller's to judge.
///
/// # Errors
/// When certificates or keys that the configuration names cannot be used.
pub(crate) fn agent(config: &Config) -> Result<Agent> {
    let tls = tls::client(config).context("cannot set up TLS")?;
    let proxy = config.proxy.as_ref().map(proxy).transpose()?;
    let settings = Agent::config_builder()
        .proxy(proxy)
        .https_only(true)
        .http_status_as_error(false)
        .max_redirects(MAX_REDIRECTS)
        .user_agent(concat!("Tandem/", env!("CARGO_PKG_VERSION")))
        .timeout_resolve(Some(CONNECT_TIMEOUT))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_recv_response(Some(config.stall_timeout))
        .timeout_per_read(Some(config.stall_timeout))
        .timeout_per_write(Some(config.stall_timeout))
        .build();
    let connector =
        ().chain(ConnectProxyConnector::default())
            .chain(TcpConnector::default())
            .chain(TlsConnector::new(tls));
    Ok(Agent::with_parts(
        settings,
        connector,
        DefaultResolver::default(),
    ))
}

/// The proxy in the HTTP library's terms.
fn proxy(proxy: &config::Proxy) -> Result<Proxy> {
    let attempt = || {
        format!(
            "cannot use the proxy {:?} of the environment",
            proxy.address
        )
    };
    let parsed = Proxy::new(&proxy.address).with_context(attempt)?;
    let mut builder = Proxy::builder(parsed.protocol())
        .host(parsed.host())
        .port(parsed.port());
    if let Some(user) = parsed.username() {
        builder = builder.username(user);
    }
    if let Some(password) = parsed.password() {
        builder = builder.password(password);
    }
    for host in &proxy.except {
        builder = builder.no_proxy(host);
    }
    builder.build().with_context(attempt)
}
