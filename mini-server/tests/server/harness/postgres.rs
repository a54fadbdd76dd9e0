//! A PostgreSQL server for the tests: one for all, with a database for each server under test. It goes with the process
//! that began it, whatever ends that.

use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Instant;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::{PROGRAM, SOON, pause};

/// A PostgreSQL server.
pub struct Cluster {
    dir: PathBuf,
    port: u16,
    /// Ends it when its standard input ends.
    keeper: Mutex<Child>,
}

/// A database that goes when this does.
pub struct Database {
    cluster: &'static Cluster,
    name: String,
}

/// The password over TCP; through the socket, which is for its owner alone, none is needed.
const PASSWORD: &str = "p:@ss/w%rd";

/// Makes the server, runs it until standard input ends, and removes it. It compares texts in another way than ours must
/// be compared. Power is not cut in these tests: it need not
/// wait for the disk.
const SCRIPT: &str = r#"
dir=$1 bin=$2 port=$3
"$bin/initdb" --pgdata "$dir/data" --username postgres --pwfile "$dir/password" --encoding UTF8 --locale C.UTF-8 \
    --locale-provider icu --icu-locale en-US --auth-local trust --auth-host scram-sha-256 --no-sync > "$dir/log" 2>&1 || exit 1
run() {
    exec "$bin/postgres" -D "$dir/data" -k "$dir" -p "$port" -c listen_addresses=127.0.0.1 -c fsync=off \
        -c full_page_writes=off -c max_connections=400 -c shared_buffers=64MB >> "$dir/log" 2>&1
}
run & server=$!
while read -r word; do
    case $word in
        stop) kill -INT "$server"; wait "$server" ;;
        start) run & server=$! ;;
    esac
done
kill -QUIT "$server" 2> /dev/null
wait "$server"
rm -rf "$dir"
"#;

/// Whether the whole suite is to run on PostgreSQL.
pub fn wanted() -> bool {
    std::env::var_os("TANDEM_TEST_DATABASE").is_some_and(|value| value == "postgres")
}

/// Whether PostgreSQL is there. Where it must be, a missing one is a failure.
pub fn installed() -> bool {
    let found = programs().is_some();
    let required = std::env::var_os("TANDEM_REQUIRE_PEERS").is_some_and(|value| value == "1");
    assert!(
        found || !required && !wanted(),
        "PostgreSQL is not installed"
    );
    if !found {
        eprintln!("SKIPPED: PostgreSQL is not installed");
    }
    found
}

/// Whether this is not run because it is about SQLite alone; why.
pub fn skip(why: &str) -> bool {
    if wanted() {
        eprintln!("SKIPPED on PostgreSQL: {why}");
    }
    wanted()
}

/// Where Debian has its programs.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let programs = versions.map(|version| version.unwrap().path().join("bin"));
    programs.filter(|bin| bin.join("initdb").exists()).max()
}

/// The server that all tests share.
pub fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let cluster = Cluster::start();
        cluster.make_template();
        cluster
    })
}

/// A new database of the shared server, with tables and nothing in them.
pub fn database() -> Database {
    cluster().database(true)
}

impl Cluster {
    /// A server of one's own, to be stopped and started.
    pub fn start() -> Self {
        let bin = programs().expect("PostgreSQL");
        // Not in the directory for temporary files of somebody else: it goes with this process all the same.
        let dir = tempfile::Builder::new()
            .prefix("tandem-postgres-")
            .tempdir()
            .unwrap()
            .keep();
        std::fs::File::create(dir.join("password"))
            .unwrap()
            .write_all(PASSWORD.as_bytes())
            .unwrap();
        let root = nix_is_root();
        if root {
            let status = Command::new("chown")
                .args(["-R", "postgres:"])
                .arg(&dir)
                .status();
            assert!(status.unwrap().success());
        }
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        // It refuses to run as root.
        let mut command = if root {
            let mut command = Command::new("setpriv");
            command.args([
                "--reuid=postgres",
                "--regid=postgres",
                "--clear-groups",
                "bash",
            ]);
            command
        } else {
            Command::new("bash")
        };
        let keeper = command
            .args(["-c", SCRIPT, "keeper"])
            .arg(&dir)
            .arg(bin)
            .arg(port.to_string())
            .current_dir("/")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let cluster = Self {
            dir,
            port,
            keeper: Mutex::new(keeper),
        };
        cluster.wait();
        cluster
    }

    /// Waits until it answers.
    pub fn wait(&self) {
        let begun = Instant::now();
        while self.try_run("postgres", "SELECT 1").is_err() {
            let log = std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            assert!(begun.elapsed() < SOON, "PostgreSQL does not start:\n{log}");
            pause();
        }
    }

    /// Has the keeper stop or start it.
    pub fn tell(&self, word: &str) {
        let mut keeper = self.keeper.lock().unwrap();
        writeln!(keeper.stdin.as_mut().unwrap(), "{word}").unwrap();
    }

    /// How a server reaches one of its databases through the socket.
    fn url(&self, name: &str) -> String {
        let dir = self.dir.to_str().unwrap();
        format!(
            "postgres://postgres@localhost:{}/{name}?host={dir}",
            self.port
        )
    }

    /// The same over TCP, with a password.
    pub fn tcp_url(&self, name: &str) -> String {
        let password = PASSWORD
            .replace('%', "%25")
            .replace('/', "%2F")
            .replace('@', "%40")
            .replace(':', "%3A");
        format!(
            "postgres://postgres:{password}@127.0.0.1:{}/{name}",
            self.port
        )
    }

    fn make_template(&self) {
        self.run(
            "postgres",
            "CREATE DATABASE template_tandem TEMPLATE template0",
        );
        let dir = tempfile::TempDir::new().unwrap();
        let done = Command::new(PROGRAM)
            .args(["user", "list", "--data"])
            .arg(self.prepared(dir.path()))
            .env("TANDEM_DATABASE", self.url("template_tandem"))
            .output()
            .unwrap();
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
        // Each server makes its own.
        self.run("template_tandem", "DELETE FROM secrets");
    }

    /// The data directory of a server whose database is elsewhere.
    fn prepared(&self, dir: &Path) -> PathBuf {
        super::write(&dir.join("postgres"), b"a test\n");
        for name in ["artifacts", "uploads", "artifact-keys", "tls"] {
            std::fs::create_dir_all(dir.join(name)).unwrap();
        }
        dir.to_owned()
    }

    /// A new database of its own.
    pub fn database(&'static self, with_tables: bool) -> Database {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("tandem_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let template = if with_tables {
            "template_tandem"
        } else {
            "template0"
        };
        self.run(
            "postgres",
            &format!("CREATE DATABASE {name} TEMPLATE {template}"),
        );
        Database {
            cluster: self,
            name,
        }
    }

    fn run(&self, name: &str, sql: &str) {
        self.try_run(name, sql)
            .unwrap_or_else(|err| panic!("{err}: {sql}"));
    }

    fn try_run(&self, name: &str, sql: &str) -> Result<(), sqlx::Error> {
        block_on(async {
            let mut connection = PgConnection::connect(&self.url(name)).await?;
            sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(&mut connection)
                .await?;
            connection.close().await
        })
    }
}

impl Database {
    pub fn url(&self) -> String {
        self.cluster.url(&self.name)
    }

    pub fn tcp_url(&self) -> String {
        self.cluster.tcp_url(&self.name)
    }

    /// Runs SQL that finds nothing.
    pub fn run(&self, sql: &str) {
        self.cluster.run(&self.name, sql);
    }

    /// The first column of what SQL finds, as text.
    pub fn texts(&self, sql: &str) -> Vec<String> {
        block_on(async {
            let mut connection = PgConnection::connect(&self.url()).await.unwrap();
            let found = sqlx::query_scalar(AssertSqlSafe(sql))
                .fetch_all(&mut connection)
                .await;
            connection.close().await.unwrap();
            found.unwrap_or_else(|err| panic!("{err}: {sql}"))
        })
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // What a test that failed wants to look at is in its message.
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        if let Err(err) = self.cluster.try_run("postgres", &sql) {
            eprintln!("cannot remove a database: {err}");
        }
    }
}

/// Waits for something that is asynchronous.
pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

fn nix_is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout.trim_ascii() == b"0"
}
