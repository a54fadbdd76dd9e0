//! What a service manager hears from the daemon: signs of life while it works, and silence when it
//! hangs.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may fail loudly, and its files are its own"
)]

use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tandem_e2e::{Workshop, program};

/// The daemon, started by a service manager that gives it two seconds.
struct Service {
    _shop: Workshop,
    socket: UnixDatagram,
    daemon: Child,
    /// The time limit that counts.
    limit: Duration,
    heard: Instant,
}

impl Service {
    /// The daemon asks a server that does not answer.
    fn start(configuration: &str) -> Service {
        let shop = Workshop::with(&format!(
            "allow_unsigned = true\nserver_url = \"https://127.0.0.1:9\"\n\
             inventory_dir = \"{{dir}}/inventory\"\nidentity_script = \"/bin/true\"\n{configuration}"
        ));
        let socket = UnixDatagram::bind(shop.path("notify")).unwrap();
        let daemon = Command::new(program("tandem").unwrap())
            .arg("--config")
            .arg(shop.device.path("etc/tandem.toml"))
            .arg("daemon")
            .env("NOTIFY_SOCKET", shop.path("notify"))
            .env("WATCHDOG_USEC", "2000000")
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Service {
            _shop: shop,
            socket,
            daemon,
            limit: Duration::from_secs(2),
            heard: Instant::now(),
        }
    }

    /// The next message; `None` when the daemon is silent for longer than it may be.
    fn hear(&mut self) -> Option<String> {
        self.hear_within(self.limit.saturating_sub(self.heard.elapsed()))
    }

    fn hear_within(&mut self, time: Duration) -> Option<String> {
        self.socket
            .set_read_timeout(Some(time.max(Duration::from_millis(1))))
            .unwrap();
        let mut buffer = [0; 1024];
        let count = self.socket.recv(&mut buffer).ok()?;
        let message = String::from_utf8_lossy(buffer.get(..count)?).into_owned();
        self.heard = Instant::now();
        for line in message.lines() {
            if let Some(limit) = line.strip_prefix("WATCHDOG_USEC=") {
                self.limit = Duration::from_micros(limit.parse().unwrap());
            }
        }
        Some(message)
    }

    /// Hears messages, none of them late, until one has `part` in it.
    #[track_caller]
    fn hear_of(&mut self, part: &str) {
        for _ in 0..100 {
            match self.hear() {
                Some(message) if message.contains(part) => return,
                Some(_) => {}
                None => panic!("silence for {:?}", self.limit),
            }
        }
        panic!("never heard of {part}");
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.daemon.id().try_into().unwrap());
        kill(pid, signal).unwrap();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

#[test]
fn the_service_manager_hears_from_beginning_to_end() {
    let mut service = Service::start("retry_poll_interval_seconds = 1");
    assert_eq!(service.hear().unwrap(), "READY=1");
    for _ in 0..10 {
        service.hear().expect("the daemon works, and says so");
    }
    service.signal(Signal::SIGTERM);
    service.hear_of("STOPPING=1");
    assert!(service.daemon.wait().unwrap().success());
}

#[test]
fn an_idle_daemon_says_how_long_it_will_be_silent() {
    let mut service = Service::start("retry_poll_interval_seconds = 3600");
    service.hear_of("READY=1");
    // It tries what can be tried, each sign of life in time.
    while service.heard.elapsed() < Duration::from_secs(3) {
        let _ = service.hear_within(Duration::from_secs(3));
    }
    assert!(
        service.limit > Duration::from_secs(4),
        "it sleeps and did not say so"
    );
    service.signal(Signal::SIGUSR1);
    service.hear_of("WATCHDOG=1");
}

#[test]
fn a_daemon_that_hangs_is_silent() {
    let mut service = Service::start("retry_poll_interval_seconds = 1");
    service.hear_of("WATCHDOG=1");
    service.signal(Signal::SIGSTOP);
    // What it had sent before is heard; then there is silence for longer than it may be.
    let end = Instant::now() + Duration::from_secs(60);
    while service.hear().is_some() {
        assert!(Instant::now() < end, "it still says that it works");
    }
}
