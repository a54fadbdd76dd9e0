//! The verb `simulate`: plays a fleet of devices with keys of their own against a server, to rehearse a rollout or to
//! see how much a server stands.
//!
//! ```text
//! queue (who is due when) -> a free line (connection) -> turn: token, inventory, poll, report -> queue
//!                                                          `- download: a connection of its own -> queue
//! ```
//!
//! One task has the queue, the devices and the ledger; turns are tasks that have their device and their line to
//! themselves meanwhile. What a device does is decided in `fate.rs` and `chance.rs`, without a look at the clock.

mod arrival;
mod chance;
mod device;
mod fate;
mod fetch;
mod keys;
mod latencies;
mod ledger;
mod line;
mod memory;
mod options;
mod turn;
mod world;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use log::debug;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

pub use options::{Fleet, Options, SimulateArgs, Task};

use crate::admin::output::Output;
use device::Device;
use fetch::{Fetched, fetch};
use ledger::{Census, Ledger};
use line::Line;
use memory::Memory;
use turn::{After, Seen};
use world::World;

/// How often there is a line about how it goes.
const TICK: Duration = Duration::from_secs(5);

/// Does it.
///
/// # Errors
/// If it cannot be done, or something went wrong that is not simulated.
pub async fn run(task: Task) -> Result<()> {
    match task {
        Task::List { fleet, file } => {
            arrival::write_list(&fleet, &file)?;
            let sentence = format!("{} devices are listed in {}", fleet.devices, file.display());
            let value = json!({"devices": fleet.devices});
            crate::cli::output(false).done(&value, &sentence)
        }
        Task::Play(options, output) => play(*options, output).await,
    }
}

async fn play(options: Options, output: Output) -> Result<()> {
    let memory = match &options.state {
        Some(file) => Memory::read(file)?,
        None => Memory::default(),
    };
    let world = Arc::new(World::new(options, memory.releases.clone())?);
    let mut fleet = Playing::new(Arc::clone(&world), &memory);
    let mut operator = arrival::operator(&world.options).await?;
    if let Some(client) = &mut operator {
        say("announcing the devices");
        arrival::announce(&world, client).await?;
    }
    let mut ended = fleet.arrive().await?;
    if let Some(client) = &mut operator {
        arrival::group(&world, client, fleet.present()).await?;
    }
    let begun = Instant::now();
    if !ended {
        ended = fleet.live(begun).await?;
    }
    if ended {
        debug!("ended by a signal");
    }
    if let Some(file) = &world.options.state {
        Memory::new(world.names(), fleet.installed.iter().copied()).write(file)?;
    }
    let (time, census) = (begun.elapsed(), fleet.census());
    let ledger = &fleet.ledger;
    output.show(&ledger.json(time, &census), |_| ledger.table(time, &census))?;
    let errors = ledger.errors();
    if errors > 0 && !world.options.outages || ledger.refusals() > 0 {
        bail!("there were {errors} errors that were not simulated");
    }
    if census.outside() > 0 {
        bail!(
            "{} devices are not let in: accept them, import the list that --write-list writes, or give a --token",
            census.outside()
        );
    }
    Ok(())
}

/// A line about how it goes, for people who watch.
fn say(text: &str) {
    // Whether anybody reads it does not matter.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// A turn or a download that has ended.
enum Ended {
    Turn(Box<(Device, Line, After, Seen)>),
    Download(Box<(Device, Fetched)>),
}

/// A fleet at work.
struct Playing {
    world: Arc<World>,
    /// By number; those who have their turn or download are away.
    devices: Vec<Option<Device>>,
    /// What runs on each, and how many deployments it has had; also of those who are away.
    installed: Vec<(u16, u16)>,
    /// Who is due when.
    queue: BinaryHeap<Reverse<(Instant, u32)>>,
    lines: Vec<Line>,
    work: JoinSet<Ended>,
    downloads: usize,
    /// Who waits for a download, and from where.
    waiting: VecDeque<(u32, Box<str>)>,
    ledger: Ledger,
    /// They are all still to come in.
    arriving: bool,
}

impl Playing {
    fn new(world: Arc<World>, memory: &Memory) -> Self {
        let options = &world.options;
        let first = world.number(&options.release);
        let devices = (0..options.fleet.devices).map(|number| {
            let place = usize::try_from(number).unwrap_or(usize::MAX);
            let mut device = Device::new(number, memory.runs.get(place).copied().unwrap_or(first));
            device.deployments = memory.deployments.get(place).copied().unwrap_or(0);
            Some(device)
        });
        let (devices, lines): (Vec<Option<Device>>, _) = (devices.collect(), options.lines);
        let installed = devices.iter().flatten();
        let installed = installed.map(|device| (device.runs, device.deployments));
        let installed = installed.collect();
        Self {
            devices,
            installed,
            queue: BinaryHeap::new(),
            lines: (0..lines).map(|_| Line::new()).collect(),
            work: JoinSet::new(),
            downloads: 0,
            waiting: VecDeque::new(),
            ledger: Ledger::default(),
            arriving: false,
            world,
        }
    }

    /// Has all devices ask for a token, as fast as the lines and the server allow. Whether a signal came.
    async fn arrive(&mut self) -> Result<bool> {
        self.arriving = true;
        let now = Instant::now();
        self.queue = (0..self.world.options.fleet.devices)
            .map(|number| Reverse((now, number)))
            .collect();
        let ended = self.go(None).await?;
        self.arriving = false;
        self.ledger.begin();
        Ok(ended)
    }

    /// Has all devices live from `begun` on, each beginning somewhere within an interval between polls. Whether a
    /// signal came.
    async fn live(&mut self, begun: Instant) -> Result<bool> {
        self.queue.clear();
        for device in self.devices.iter().flatten() {
            let first = begun.checked_add(self.world.first_poll(device.number));
            let first = first.unwrap_or(begun);
            self.queue.push(Reverse((first, device.number)));
        }
        let end = self.world.options.time;
        self.go(end.and_then(|time| begun.checked_add(time))).await
    }

    /// Has everybody do what is due until `end`, or until nobody has anything to do. Whether a signal came before.
    async fn go(&mut self, end: Option<Instant>) -> Result<bool> {
        let mut terminate = signal(SignalKind::terminate()).context("cannot wait for signals")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for signals")?;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tick.reset();
        let far = Instant::now()
            .checked_add(Duration::from_secs(1 << 28))
            .context("the clock has come to its end")?;
        let end = end.unwrap_or(far);
        let (begun, mut last) = (Instant::now(), Instant::now());
        let signalled = loop {
            self.hand_out();
            if self.arriving && self.queue.is_empty() && self.work.is_empty() {
                break false;
            }
            let due = match self.queue.peek() {
                Some(Reverse((due, _))) if !self.lines.is_empty() => *due,
                Some(_) | None => far,
            };
            tokio::select! {
                Some(ended) = self.work.join_next() => {
                    self.take_back(ended.context("a device panicked")?);
                }
                () = sleep_until(due) => {}
                () = sleep_until(end) => break false,
                _ = tick.tick() => {
                    let since = last.elapsed();
                    last = Instant::now();
                    let census = self.census();
                    let seconds = begun.elapsed().as_secs();
                    let line = self.ledger.line(since, &census);
                    say(&format!("{:02}:{:02}  {line}", seconds / 60, seconds % 60));
                }
                _ = terminate.recv() => break true,
                _ = interrupt.recv() => break true,
            }
        };
        // What was begun is brought to its end, but for downloads that may take hours.
        let patience = Instant::now().checked_add(LAST).unwrap_or(far);
        while let Ok(Some(ended)) = tokio::time::timeout_at(patience, self.work.join_next()).await {
            self.take_back(ended.context("a device panicked")?);
            if self.lines.len() == self.world.options.lines {
                break;
            }
        }
        Ok(signalled)
    }

    /// Gives whoever is due a line.
    fn hand_out(&mut self) {
        let now = Instant::now();
        while let Some(Reverse((due, number))) = self.queue.peek().copied() {
            if due > now {
                break;
            }
            let Some(mut line) = self.lines.pop() else {
                break;
            };
            self.queue.pop();
            let Some(mut device) = self.take(number) else {
                self.lines.push(line);
                continue;
            };
            let (world, arrive) = (Arc::clone(&self.world), self.arriving);
            self.work.spawn(async move {
                let (after, seen) = turn::take(&world, &mut line, &mut device, due, arrive).await;
                Ended::Turn(Box::new((device, line, after, seen)))
            });
        }
    }

    fn take(&mut self, number: u32) -> Option<Device> {
        let place = usize::try_from(number).ok()?;
        self.devices.get_mut(place)?.take()
    }

    fn put_back(&mut self, device: Device) {
        let place = usize::try_from(device.number).unwrap_or(usize::MAX);
        if let Some(installed) = self.installed.get_mut(place) {
            *installed = (device.runs, device.deployments);
        }
        if let Some(empty) = self.devices.get_mut(place) {
            *empty = Some(device);
        }
    }

    /// Somebody is done.
    fn take_back(&mut self, ended: Ended) {
        match ended {
            Ended::Turn(ended) => {
                let (device, line, after, seen) = *ended;
                self.lines.push(line);
                for sample in seen.samples {
                    self.ledger.note(sample);
                }
                for event in seen.events {
                    self.ledger.happened(event);
                }
                self.plan(device, after);
            }
            Ended::Download(ended) => {
                let (mut device, fetched) = *ended;
                self.downloads = self.downloads.saturating_sub(1);
                self.ledger.fetched(fetched.bytes);
                for sample in fetched.samples {
                    self.ledger.note(sample);
                }
                if !fetched.whole {
                    // It asks again, and is offered it again.
                    device.order = None;
                }
                let number = device.number;
                self.put_back(device);
                self.queue.push(Reverse((Instant::now(), number)));
                while self.downloads < self.world.options.downloads {
                    let Some((number, source)) = self.waiting.pop_front() else {
                        break;
                    };
                    self.download(number, source);
                }
            }
        }
    }

    /// When the device has its next turn.
    fn plan(&mut self, device: Device, after: After) {
        let (number, turns) = (device.number, device.turns);
        let options = &self.world.options;
        let about = |time, spread| self.world.about(time, spread, number, turns);
        let wait = match after {
            // Who is in, or is not let in, waits until all have come.
            After::Poll if self.arriving => None,
            After::Wait(_) if self.arriving && device.outside => None,
            After::Poll => Some(about(options.poll, 0.1)),
            After::Step => Some(about(options.step, 0.5)),
            After::Wait(wait) => Some(wait),
            After::Vanished => options.back_after.map(|time| about(time, 0.1)),
            After::Download(source, _) if options.download => {
                self.put_back(device);
                self.download(number, source);
                return;
            }
            After::Download(_, time) => Some(time.saturating_add(about(options.step, 0.5))),
        };
        self.put_back(device);
        if let Some(at) = wait.and_then(|wait| Instant::now().checked_add(wait)) {
            self.queue.push(Reverse((at, number)));
        }
    }

    /// Begins a download, now or when another one has ended.
    fn download(&mut self, number: u32, source: Box<str>) {
        if self.downloads >= self.world.options.downloads {
            self.waiting.push_back((number, source));
            return;
        }
        let Some(device) = self.take(number) else {
            return;
        };
        self.downloads = self.downloads.saturating_add(1);
        let world = Arc::clone(&self.world);
        self.work.spawn(async move {
            let fetched = fetch(&world, &source).await;
            Ended::Download(Box::new((device, fetched)))
        });
    }

    /// Those who have no turn at the moment.
    fn present(&self) -> impl Iterator<Item = &Device> {
        self.devices.iter().flatten()
    }

    fn census(&self) -> Census {
        Census::of(self.present().map(Device::doing))
    }
}

/// How long turns may take that are under way at the end.
const LAST: Duration = Duration::from_secs(5);
