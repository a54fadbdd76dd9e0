//! The verb `serve`: everything from the first start to the last answer.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use log::{info, warn};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use tandem_api::management::Role;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::app::Settings;
use crate::assembly::{Assembled, Opened, Rates};
use crate::audit::{Cause, because};
use crate::clock::now;
use crate::data_dir::DataDir;
use crate::housekeeping;
use crate::listener::{self, at_most};
use crate::password;
use crate::secret::{self, new_id};
use crate::silence::Silence;
use crate::store::{Database, UserOutcome};
use crate::tls::{self, Certificate, Source};
use crate::webhooks;

/// What `serve` is told.
pub struct Options {
    /// The data directory.
    pub data: PathBuf,
    /// Where the database is, if not in the data directory.
    pub database: Option<Database>,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Further names by which devices know the server.
    pub names: Vec<String>,
    /// A certificate and its key, instead of one by our own authority.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// The e-mail address of the first administrator.
    pub admin_email: String,
    /// Connections at once.
    pub connections: usize,
    /// How long requests may go on when the server is to stop.
    pub drain: Duration,
    /// How often somebody may ask.
    pub rates: Rates,
    /// Public keys of which one must have signed every artifact, beside those in the data directory.
    pub artifact_keys: Vec<PathBuf>,
    /// The rest.
    pub settings: Settings,
}

/// How often it is written down when devices were heard from.
const FLUSH: Duration = Duration::from_secs(5);

/// How often it is looked what is too old.
const TIDY: Duration = Duration::from_secs(60 * 60);

/// How often the certificate is looked after.
const CERTIFICATE: Duration = Duration::from_secs(12 * 60 * 60);

/// Descriptors that are for other things than connections.
const OTHER_DESCRIPTORS: u64 = 128;

/// Serves until the process is told to stop.
///
/// # Errors
/// If it cannot begin.
pub async fn run(options: Options) -> Result<()> {
    // Whatever is made from here on is for its owner alone.
    umask(Mode::from_bits_truncate(0o077));
    let dir = match &options.database {
        None => DataDir::create(&options.data)?,
        Some(_) => DataDir::create_without_database(&options.data)?,
    };
    let Some(lock) = dir.try_lock()? else {
        bail!(
            "a server or a verb works on {} already",
            options.data.display()
        );
    };
    let database = dir.choose(options.database.clone())?;
    let opened = Opened::new(&dir, &lock, &database).await?;
    if database.file().is_none() {
        dir.note_elsewhere(&database)?;
    }
    let certificate = Certificate::load(match &options.certificate {
        Some((certificate, key)) => Source::Given {
            certificate: certificate.clone(),
            key: key.clone(),
        },
        None => Source::Own {
            dir: dir.tls(),
            names: tls::names(options.listen, &options.names),
        },
    })?;
    let settings = Settings {
        verification: crate::assembly::artifact_keys(&dir, &options.artifact_keys)?,
        authority: match options.certificate {
            Some(_) => None,
            None => Some(tls::authority_certificate(&dir)?),
        },
        ..options.settings.clone()
    };
    let server = Assembled::new(&dir, lock, opened, settings, options.rates).await?;
    let listener = TcpListener::bind(options.listen)
        .await
        .with_context(|| format!("cannot listen on {}", options.listen))?;
    let address = listener.local_addr().context("cannot listen")?;
    let socket = dir.socket();
    let local = listener::bind_local(&socket)
        .with_context(|| format!("cannot listen on {}", socket.display()))?;

    if let Some(password) = first_admin(&server, &options.admin_email).await? {
        welcome(&dir, &options, address, &password);
    }
    say(&format!("listening on https://{address}"));
    info!(address:% = address, data:% = options.data.display(); "serving");

    let (stop, stopping) = watch::channel(false);
    let places = places(options.connections);
    let front = &server.front;
    let https = tokio::spawn(listener::https(
        listener,
        Arc::clone(&certificate).config()?,
        Arc::clone(front),
        places,
        stopping.clone(),
    ));
    tokio::spawn(listener::local(local, Arc::clone(front), stopping.clone()));
    tokio::spawn(webhooks::deliver(Arc::clone(front.app()), stopping.clone()));
    notify_systemd("READY=1");
    look_after(&server, &certificate, stop).await?;

    notify_systemd("STOPPING=1");
    front.app().live.close();
    info!(
        "stopping: requests may take {} s to end",
        options.drain.as_secs()
    );
    let drained = at_most(options.drain, async {
        if let Err(err) = https.await {
            warn!("the listener ended badly: {err}");
        }
    });
    if !drained.await {
        info!("connections that are still busy are cut");
    }
    if let Err(err) = crate::durable::remove(&socket) {
        warn!("cannot remove {}: {err}", socket.display());
    }
    server.close().await;
    info!("stopped");
    Ok(())
}

/// What is done now and then, until a signal says that the server is to stop.
async fn look_after(
    server: &Assembled,
    certificate: &Certificate,
    stop: watch::Sender<bool>,
) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for signals")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot wait for signals")?;
    let mut flush = interval(FLUSH);
    flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut tidy = interval(TIDY);
    tidy.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut silence = Silence::default();
    let mut renewal = interval(CERTIFICATE);
    renewal.reset();
    loop {
        tokio::select! {
            _ = flush.tick() => {
                server.flush().await;
                // Behind it: who was heard of a moment ago is not silent.
                silence.sweep(server.front.app(), now().millis()).await;
            }
            _ = renewal.tick() => certificate.refresh(),
            // Of several processes one does it; who becomes that one later does it within the hour.
            _ = tidy.tick(), if server.front.app().store.is_keeper() => {
                housekeeping::tidy(server.front.app(), now().millis()).await;
            }
            _ = hangup.recv() => {
                info!("reading the certificate again");
                certificate.refresh();
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    // Everybody who serves listens to this.
    let _ = stop.send(true);
    Ok(())
}

/// Makes the first administrator; the password that was made up, or `None` if there are users already.
async fn first_admin(server: &Assembled, email: &str) -> Result<Option<String>> {
    let store = &server.front.app().store;
    if !store.users().await?.is_empty() {
        return Ok(None);
    }
    let password = secret::password();
    let hash = password::hash(&password).context("cannot hash a password")?;
    let email = email.trim().to_lowercase();
    let added = store.add_user(new_id(), email, hash, Role::Admin, now().millis());
    match because(Cause::server(), added).await? {
        UserOutcome::Done(_) => Ok(Some(password)),
        UserOutcome::Missing | UserOutcome::EmailTaken | UserOutcome::Last => Ok(None),
    }
}

/// What to do next, after the first start.
fn welcome(dir: &DataDir, options: &Options, address: SocketAddr, password: &str) {
    let host = match options.names.first() {
        Some(name) => name.clone(),
        None if address.ip().is_unspecified() => {
            tls::host_name().unwrap_or_else(|| "localhost".to_owned())
        }
        None => address.ip().to_string(),
    };
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host
    };
    let port = address.port();
    let data = dir.path().display();
    let email = options.admin_email.trim().to_lowercase();
    let mut text = format!(
        "\nThe server is set up in {data}\n\
         \n  Its pages lead to the first update:\
         \n    https://{host}:{port}/\n\
         \n  Sign in with this e-mail address and password; they are not shown again.\
         \n    e-mail    {email}\
         \n    password  {password}\n"
    );
    let mut trust = String::new();
    if options.certificate.is_none() {
        let authority = tls::authority_file(dir);
        text.push_str(&format!(
            "\n  Devices have to trust this certificate; copy it to /etc/tandem/ca.crt on each of them.\
             \n    {}\n",
            authority.display()
        ));
        trust = "\n    server_certificate = \"/etc/tandem/ca.crt\"".to_owned();
    }
    text.push_str(&format!(
        "\n  /etc/tandem/tandem.toml on each device:\
         \n    server_url = \"https://{host}:{port}\"{trust}\n\
         \n  When the first device knocks:\
         \n    tandem-server device list --data {data}\
         \n    tandem-server device accept ID --data {data}\n"
    ));
    say(&text);
}

/// Prints the answer of the verb.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    if let Err(err) = writeln!(out, "{text}").and_then(|()| out.flush()) {
        // Nobody reads it; the server serves all the same.
        warn!("cannot print: {err}");
    }
}

/// How many connections there can be: as many as are wanted and as there are descriptors.
fn places(wanted: usize) -> usize {
    let descriptors = getrlimit(Resource::RLIMIT_NOFILE).map(|(soft, hard)| {
        match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
            Ok(()) => hard,
            Err(_) => soft,
        }
    });
    let descriptors = descriptors
        .unwrap_or(1024)
        .saturating_sub(OTHER_DESCRIPTORS);
    // A download has its file open as well.
    let places = wanted
        .min(usize::try_from(descriptors / 2).unwrap_or(usize::MAX))
        .max(1);
    if places < wanted {
        warn!(
            "only {places} connections at once: the limit of open files (RLIMIT_NOFILE) is too low"
        );
    }
    places
}

/// Tells systemd how it goes, if it wants to know.
fn notify_systemd(state: &str) {
    #[expect(
        clippy::disallowed_methods,
        reason = "systemd says in the environment where it listens"
    )]
    let Ok(path) = std::env::var("NOTIFY_SOCKET") else {
        return;
    };
    let sent = std::os::unix::net::UnixDatagram::unbound().and_then(|socket| {
        match path.strip_prefix('@') {
            Some(name) => {
                use std::os::linux::net::SocketAddrExt;
                let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
                socket.send_to_addr(state.as_bytes(), &address)
            }
            None => socket.send_to(state.as_bytes(), Path::new(&path)),
        }
    });
    if let Err(err) = sent {
        warn!("cannot tell systemd {state}: {err}");
    }
}

/// The tokio runtime of the server and of the verbs.
///
/// # Errors
/// If the threads cannot be started.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        // For passwords and for reading artifacts; more would only wait for the disk together.
        .max_blocking_threads(16)
        .enable_all()
        .build()
        .context("cannot start threads")
}
