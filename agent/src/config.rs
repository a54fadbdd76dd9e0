//! The configuration: what the files say ([`mod@file`]), completed with defaults and checked, so that
//! the rest of the program never meets a value that is missing or makes no sense.
//!
//! The only place with absolute paths.

mod boot_environment;
mod duration;
mod file;
mod names;

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::priority::Priority;
use file::{File, Format};

/// Where the configuration is looked for when the command line does not say.
const TANDEM_TOML: &str = "/etc/tandem/tandem.toml";
/// Where a device that ran Mender's client has it, the second one overriding the first.
const MENDER_CONF: [&str; 2] = ["/var/lib/mender/mender.conf", "/etc/mender/mender.conf"];

/// Everything that the agent can be told, complete and checked.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Record, keys, logs, artifact scripts and module work trees; on the persistent partition.
    pub(crate) data_dir: PathBuf,
    /// Where update modules are looked for, in this order.
    pub(crate) modules_dirs: Vec<PathBuf>,
    /// State scripts that belong to the root file system.
    pub(crate) scripts_dir: PathBuf,
    /// Holds the line `device_type=...`.
    pub(crate) device_type_file: PathBuf,
    /// The two root parts; `None` on a device that only uses update modules.
    pub(crate) rootfs_parts: Option<RootfsParts>,
    /// Where the boot loader keeps its variables.
    pub(crate) boot_environment: BootEnvironment,
    /// The program that reboots the device, with its arguments.
    pub(crate) reboot_command: Vec<String>,
    /// Who may sign artifacts.
    pub(crate) signers: Signers,
    /// The servers' addresses, `https://...` without a slash at the end; asked in this order.
    pub(crate) servers: Vec<String>,
    /// What tells a server of many customers whose device this is.
    pub(crate) tenant_token: Option<String>,
    /// Prints what identifies this device.
    pub(crate) identity_script: PathBuf,
    /// Where the programs are that print what this device is like.
    pub(crate) inventory_dirs: Vec<PathBuf>,
    /// A key to use instead of one of our own making.
    pub(crate) auth_private_key: Option<PathBuf>,
    /// How often to ask for a deployment.
    pub(crate) update_poll_interval: Duration,
    /// How often to send the inventory.
    pub(crate) inventory_poll_interval: Duration,
    /// Where the logs of deployments are kept.
    pub(crate) update_log_path: PathBuf,
    /// How long one run of a state script may take.
    pub(crate) state_script_timeout: Duration,
    /// How long a state script may answer "later".
    pub(crate) state_script_retry_timeout: Duration,
    /// How long to wait before a script that answered "later" is called again.
    pub(crate) state_script_retry_interval: Duration,
    /// How long one call of an update module may take.
    pub(crate) module_timeout: Duration,
    /// Silence on a connection that counts as an error.
    pub(crate) stall_timeout: Duration,
    /// The longest pause between two attempts of anything.
    pub(crate) retry_poll_interval: Duration,
    /// How often an update tries to reach the server before it is undone.
    pub(crate) retry_poll_count: u32,
    /// How often a broken download is taken up again without a byte of progress.
    pub(crate) retry_download_count: u32,
    /// How many bytes of an artifact may come in a second.
    pub(crate) download_rate_limit: Option<NonZeroU64>,
    /// Whether all of a framed artifact may be fetched when it cannot be had in pieces.
    pub(crate) whole_artifact_fallback: bool,
    /// What an installation leaves to the others.
    pub(crate) install_priority: Priority,
    /// Certificates to trust instead of the system's: a private CA or the server's own.
    pub(crate) server_certificate: Option<PathBuf>,
    /// The certificate and key by which the device shows itself in TLS.
    pub(crate) client_certificate: Option<ClientCertificate>,
    /// The proxy for all requests, as the environment says.
    pub(crate) proxy: Option<Proxy>,
    /// Who wants to hear that the daemon works.
    pub(crate) service_manager: Option<ServiceManager>,
    /// What to log when the command line does not say.
    pub(crate) log_level: Option<log::LevelFilter>,
}

/// The two root parts and the running one.
#[derive(Clone, Debug)]
pub(crate) struct RootfsParts {
    /// `rootfs_part_a`
    pub(crate) a: PathBuf,
    /// `rootfs_part_b`
    pub(crate) b: PathBuf,
    /// What `/` runs from, if the kernel is not to be asked.
    pub(crate) root_device: Option<PathBuf>,
}

/// Where the boot loader keeps its variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BootEnvironment {
    /// U-Boot, at the places that this `fw_env.config` describes.
    Uboot(PathBuf),
    /// GRUB with Mender's boot scripts: `mender_grubenv1` and `mender_grubenv2` are in here.
    Grub(PathBuf),
}

/// The service manager that started this program and wants to hear of it, by the convention of
/// sd_notify(3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceManager {
    /// Where it listens; a name that begins with `@` is an abstract one.
    pub(crate) socket: PathBuf,
    /// How long it waits for a sign of life.
    pub(crate) watchdog: Option<Duration>,
}

/// Who may sign artifacts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Signers {
    /// The holders of the private halves of these public keys (PEM files), and nobody else.
    Keys(Vec<PathBuf>),
    /// No key is configured: every artifact is refused.
    Nobody,
    /// No key is configured, and that is accepted: artifacts are not checked for who made them.
    Anybody,
}

/// A proxy, and the hosts that are reached without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proxy {
    /// Its address, with user and password if need be.
    pub(crate) address: String,
    /// Hosts and domains.
    pub(crate) except: Vec<String>,
}

/// A TLS client certificate.
#[derive(Clone, Debug)]
pub(crate) struct ClientCertificate {
    /// The certificate chain, PEM.
    pub(crate) certificate: PathBuf,
    /// Its private key, PEM.
    pub(crate) key: PathBuf,
}

/// What the command line says about the configuration; it overrides the files.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overrides {
    /// `--config`
    pub(crate) config: Option<PathBuf>,
    /// `--fallback-config`
    pub(crate) fallback_config: Option<PathBuf>,
    /// `--datastore`
    pub(crate) datastore: Option<PathBuf>,
    /// `--trusted-certs`
    pub(crate) trusted_certs: Option<PathBuf>,
}

impl Config {
    /// Reads the configuration files and completes them.
    ///
    /// # Errors
    /// When a file that was named is missing, or any cannot be read, or says what cannot be.
    pub(crate) fn load(overrides: &Overrides) -> Result<Config> {
        let (file, format) = read_files(overrides)?;
        complete(file, format, overrides)
    }
}

/// The merged content of the configuration files, a later one overriding key by key.
fn read_files(overrides: &Overrides) -> Result<(File, Format)> {
    let mut paths: Vec<&Path> = overrides
        .fallback_config
        .iter()
        .map(PathBuf::as_path)
        .collect();
    match &overrides.config {
        Some(path) => paths.push(path),
        None if Path::new(TANDEM_TOML).exists() => paths.push(Path::new(TANDEM_TOML)),
        None => paths.extend(
            MENDER_CONF
                .map(Path::new)
                .into_iter()
                .filter(|path| path.exists()),
        ),
    }
    let mut merged = file::Said::new();
    let mut format = None;
    for path in paths {
        let (said, written) = file::read(path)?;
        merged.extend(said);
        format = Some(written);
    }
    let format = format.with_context(|| {
        format!(
            "there is no configuration: neither {TANDEM_TOML} nor {} exists (create the first, or name a file with --config)",
            MENDER_CONF[1]
        )
    })?;
    Ok((File::from(merged)?, format))
}

/// Fills in the defaults, and refuses what cannot be.
fn complete(file: File, format: Format, overrides: &Overrides) -> Result<Config> {
    let data_dir = overrides
        .datastore
        .clone()
        .or(file.data_dir)
        .unwrap_or_else(|| PathBuf::from("/var/lib/tandem"));
    let rootfs_parts = match (file.rootfs_part_a, file.rootfs_part_b) {
        (Some(a), Some(b)) => Some(RootfsParts {
            a,
            b,
            root_device: file.root_device,
        }),
        (None, None) => None,
        (Some(_), None) => bail!("rootfs_part_a is set, but rootfs_part_b is not"),
        (None, Some(_)) => bail!("rootfs_part_b is set, but rootfs_part_a is not"),
    };
    let reboot_command = file
        .reboot_command
        .unwrap_or_else(|| vec!["reboot".to_owned()]);
    ensure!(!reboot_command.is_empty(), "reboot_command is empty");
    let log_level = match file.daemon_log_level {
        Some(level) => Some(log_level(&level)?),
        None => None,
    };
    let client_certificate = match (file.https_client.certificate, file.https_client.key) {
        (Some(certificate), Some(key)) => Some(ClientCertificate { certificate, key }),
        (None, None) => None,
        _ => bail!("https_client needs both certificate and key"),
    };
    Ok(Config {
        device_type_file: file
            .device_type_file
            .unwrap_or_else(|| data_dir.join("device_type")),
        modules_dirs: file.modules_dir.unwrap_or_else(|| {
            [
                "/usr/share/tandem/modules/v3",
                "/usr/share/mender/modules/v3",
            ]
            .map(PathBuf::from)
            .into()
        }),
        scripts_dir: file.scripts_dir.unwrap_or_else(|| {
            PathBuf::from(match format {
                Format::Toml => "/etc/tandem/scripts",
                Format::MenderConf => "/etc/mender/scripts",
            })
        }),
        rootfs_parts,
        boot_environment: boot_environment::find(
            file.boot_loader.as_deref(),
            file.uboot_env_config,
            file.grub_env_dir,
        )?,
        reboot_command,
        signers: signers(
            file.artifact_verify_key,
            file.artifact_verify_keys,
            file.allow_unsigned,
            format,
        )?,
        state_script_timeout: seconds(file.state_script_timeout_seconds, 3600),
        state_script_retry_timeout: seconds(file.state_script_retry_timeout_seconds, 1800),
        state_script_retry_interval: seconds(file.state_script_retry_interval_seconds, 60),
        module_timeout: seconds(file.module_timeout_seconds, 14400),
        stall_timeout: seconds(file.stall_timeout_seconds, 300),
        retry_poll_interval: seconds(file.retry_poll_interval_seconds, 300),
        retry_download_count: match file.retry_download_count {
            Some(0) => bail!("retry_download_count is 0; the least is 1"),
            Some(count) => count,
            None => 10,
        },
        download_rate_limit: file.download_rate_limit,
        whole_artifact_fallback: file.whole_artifact_fallback.unwrap_or(true),
        install_priority: file.install_priority.unwrap_or_default(),
        servers: servers(file.server_url, file.servers)?,
        tenant_token: file.tenant_token.filter(|token| !token.is_empty()),
        identity_script: file.identity_script.unwrap_or_else(|| {
            first_that_exists([
                "/usr/share/tandem/identity/tandem-device-identity",
                "/usr/share/mender/identity/mender-device-identity",
            ])
        }),
        inventory_dirs: file.inventory_dir.unwrap_or_else(|| {
            ["/usr/share/tandem/inventory", "/usr/share/mender/inventory"]
                .map(PathBuf::from)
                .into()
        }),
        auth_private_key: file.security.auth_private_key,
        update_poll_interval: seconds(file.update_poll_interval_seconds, 1800),
        inventory_poll_interval: seconds(file.inventory_poll_interval_seconds, 28_800),
        update_log_path: file.update_log_path.unwrap_or_else(|| data_dir.clone()),
        // As long as Mender's client tries by default.
        retry_poll_count: match file.retry_poll_count.unwrap_or(0) {
            0 => 12,
            count => count,
        },
        proxy: proxy(&variable)?,
        service_manager: service_manager(&variable),
        server_certificate: overrides.trusted_certs.clone().or(file.server_certificate),
        client_certificate,
        log_level,
        data_dir,
    })
}

/// The servers, by either of the two keys.
fn servers(one: Option<String>, many: Option<Vec<file::Server>>) -> Result<Vec<String>> {
    let named = match (one.filter(|one| !one.is_empty()), many) {
        (Some(_), Some(_)) => bail!("both server_url and servers are set; one of them will do"),
        (Some(one), None) => vec![one],
        (None, many) => many
            .unwrap_or_default()
            .into_iter()
            .map(|one| one.server_url)
            .collect(),
    };
    let mut servers: Vec<String> = Vec::new();
    for name in named {
        ensure!(
            !name.starts_with("http://"),
            "the server {name} would be spoken to without TLS; use https://"
        );
        let address = name
            .strip_prefix("https://")
            .unwrap_or(&name)
            .trim_end_matches('/');
        ensure!(!address.is_empty(), "the server {name:?} has no host");
        let address = format!("https://{address}");
        if !servers.contains(&address) {
            servers.push(address);
        }
    }
    Ok(servers)
}

/// The proxy that the environment asks for. Two spellings of a variable contradict each other,
/// and one of them might be forgotten.
fn proxy(variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<Proxy>> {
    let either = |lower: &str| -> Result<Option<String>> {
        let upper = lower.to_ascii_uppercase();
        match (variable(lower), variable(&upper)) {
            (Some(_), Some(_)) => bail!("both {lower} and {upper} are set; one of them will do"),
            (one, other) => Ok(one.or(other).filter(|value| !value.is_empty())),
        }
    };
    let except = either("no_proxy")?.unwrap_or_default();
    let Some(address) = either("https_proxy")? else {
        return Ok(None);
    };
    let except = except.split([' ', ',']).filter(|host| !host.is_empty());
    Ok(Some(Proxy {
        address,
        except: except.map(str::to_owned).collect(),
    }))
}

/// The service manager, if the environment says that there is one.
fn service_manager(variable: &dyn Fn(&str) -> Option<String>) -> Option<ServiceManager> {
    let number = |name| variable(name).and_then(|value| value.parse::<u64>().ok());
    let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    Some(ServiceManager {
        socket: variable("NOTIFY_SOCKET")
            .filter(|path| !path.is_empty())?
            .into(),
        watchdog: number("WATCHDOG_USEC")
            .filter(|limit| ours && *limit > 0)
            .map(Duration::from_micros),
    })
}

/// A variable of the environment.
#[expect(
    clippy::disallowed_methods,
    reason = "the environment is part of the configuration"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The first path that leads somewhere, or else the first.
fn first_that_exists(paths: [&str; 2]) -> PathBuf {
    let found = paths.iter().find(|path| Path::new(path).exists());
    PathBuf::from(found.unwrap_or(&paths[0]))
}

/// Who may sign, by what was configured.
fn signers(
    key: Option<PathBuf>,
    keys: Option<Vec<PathBuf>>,
    allow_unsigned: Option<bool>,
    format: Format,
) -> Result<Signers> {
    let keys = match (key, keys) {
        (Some(_), Some(_)) => {
            bail!("both artifact_verify_key and artifact_verify_keys are set; one of them will do")
        }
        (Some(key), None) => vec![key],
        (None, keys) => keys.unwrap_or_default(),
    };
    let unsigned = allow_unsigned.unwrap_or(format == Format::MenderConf);
    Ok(match (keys.is_empty(), unsigned) {
        (false, false) => Signers::Keys(keys),
        // A mender.conf with keys means what it means to Mender's client: signed only.
        (false, true) if allow_unsigned.is_none() => Signers::Keys(keys),
        (false, true) => {
            bail!("allow_unsigned is true although a verification key is set; remove one of them")
        }
        (true, true) => Signers::Anybody,
        (true, false) => Signers::Nobody,
    })
}

/// A log level by its name, those of Mender's client included.
pub(crate) fn log_level(name: &str) -> Result<log::LevelFilter> {
    Ok(match name.to_ascii_lowercase().as_str() {
        "off" => log::LevelFilter::Off,
        "fatal" | "panic" | "error" => log::LevelFilter::Error,
        "warn" | "warning" => log::LevelFilter::Warn,
        "info" => log::LevelFilter::Info,
        "debug" => log::LevelFilter::Debug,
        "trace" => log::LevelFilter::Trace,
        _ => bail!("there is no log level {name:?}; there are error, warning, info, debug, trace"),
    })
}

fn seconds(given: Option<duration::Seconds>, default: u64) -> Duration {
    given.map_or(Duration::from_secs(default), |given| given.0)
}
