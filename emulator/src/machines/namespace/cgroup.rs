//! Control groups: what a machine may use, and freezing it.
//!
//! Both versions are spoken: version 1 has one tree a controller, version 2 one tree. Groups are made beside or
//! below the group in which the emulator runs, so that a limit on the emulator holds for its machines too.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::super::{Enforced, Shape};
use super::plan::Membership;

/// How long all processes may take to stand still.
const FREEZE_BOUND: Duration = Duration::from_secs(10);

/// Where this process may make control groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trees {
    /// Version 1: controller and the group below which new ones go.
    v1: Vec<(Controller, PathBuf)>,
    /// Version 2: the group below which new ones go, and the one to step back into.
    v2: Option<(PathBuf, PathBuf)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Controller {
    Cpu,
    Memory,
    Pids,
    Freezer,
}

const CONTROLLERS: [(Controller, &str); 4] = [
    (Controller::Cpu, "cpu"),
    (Controller::Memory, "memory"),
    (Controller::Pids, "pids"),
    (Controller::Freezer, "freezer"),
];

/// The groups of one machine.
#[derive(Debug, Clone, Default)]
pub struct Group {
    /// For the supervisor.
    pub membership: Membership,
    /// What they hold a machine to.
    pub enforced: Enforced,
    freezer: Option<Freezer>,
}

#[derive(Debug, Clone)]
enum Freezer {
    V1(PathBuf),
    V2(PathBuf),
}

impl Trees {
    /// Looks where groups can be made; `probe` is a name for a group that is made and removed at once.
    pub fn discover(probe: &str) -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let writable = |dir: &Path| {
            let trial = dir.join(probe);
            let made = fs::create_dir(&trial).is_ok();
            let _ = fs::remove_dir(&trial);
            made && fs::OpenOptions::new().write(true).open(dir.join("cgroup.procs")).is_ok()
        };
        let (v1, v2) = places(&mounts, &own);
        let v1: Vec<_> = v1.into_iter().filter(|(_, dir)| writable(dir)).collect();
        // Limits of version 2 exist below a group without processes of its own: prefer the parent.
        let v2 = v2.and_then(|own| {
            let parent = own.parent().filter(|p| p.join("cgroup.procs").exists());
            let base = parent.into_iter().chain([own.as_path()]).find(|dir| writable(dir))?;
            Some((base.to_owned(), own.clone()))
        });
        Self { v1, v2 }
    }

    /// Whether there is any.
    pub fn any(&self) -> bool {
        !self.v1.is_empty() || self.v2.is_some()
    }

    /// Makes the groups of a machine and sets their limits, as far as the host lets us.
    pub fn make(&self, name: &str, shape: Shape, processes: u32) -> Group {
        let mut group = Group::default();
        let limits = Limits::clamped(shape, processes);
        for (controller, base) in &self.v1 {
            let dir = base.join(name);
            if fs::create_dir(&dir).is_err() {
                continue;
            }
            limits.set_v1(*controller, &dir, &mut group);
            group.take(dir, base);
        }
        if let Some((base, own)) = &self.v2 {
            // Version 2 carries what version 1 does not.
            let dir = base.join(name);
            let missing = group.freezer.is_none() || group.enforced.memory_mb.is_none();
            if missing {
                Limits::enable_v2(base);
                if fs::create_dir(&dir).is_ok() {
                    limits.set_v2(&dir, &mut group);
                    group.take(dir, own);
                }
            }
        }
        group
    }

    /// Ends and removes groups of machines whose emulator died so suddenly that nobody cleaned up.
    pub fn sweep(&self, prefix: &str) {
        let bases = self.v1.iter().map(|(_, dir)| dir).chain(self.v2.iter().map(|(base, _)| base));
        let entries = bases.filter_map(|base| fs::read_dir(base).ok()).flatten().flatten();
        let ours = entries.filter(|e| e.file_name().to_string_lossy().starts_with(prefix));
        let dirs: Vec<PathBuf> = ours.map(|e| e.path()).collect();
        kill_all(&dirs);
        for dir in dirs {
            let _ = remove(&dir);
        }
    }
}

impl Group {
    fn take(&mut self, dir: PathBuf, back: &Path) {
        self.membership.join.push(dir.join("cgroup.procs"));
        self.membership.leave.push(back.join("cgroup.procs"));
        self.membership.dirs.push(dir);
    }

    /// Whether processes can be frozen by it.
    pub fn can_freeze(&self) -> bool {
        self.freezer.is_some()
    }

    /// Stops every process and waits until all stand. Blocks up to ten seconds.
    pub fn freeze(&self) -> io::Result<()> {
        let (file, word, state, still) = match &self.freezer {
            Some(Freezer::V1(dir)) => {
                (dir.join("freezer.state"), "FROZEN", dir.join("freezer.state"), "FROZEN")
            }
            Some(Freezer::V2(dir)) => {
                (dir.join("cgroup.freeze"), "1", dir.join("cgroup.events"), "frozen 1")
            }
            None => return Err(io::Error::other("no freezer")),
        };
        fs::write(&file, word)?;
        let deadline = Instant::now() + FREEZE_BOUND;
        while !fs::read_to_string(&state)?.lines().any(|line| line.trim() == still) {
            if Instant::now() > deadline {
                let _ = self.thaw();
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "processes do not stand still",
                ));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Sets other limits of memory and CPU where there are any; what a machine is held to then.
    pub fn resize(&self, shape: Shape) -> io::Result<Enforced> {
        let limits = Limits::clamped(shape, 0);
        let mut enforced = self.enforced;
        // Memory first: it is what can be refused.
        if enforced.memory_mb.is_some() {
            self.membership.dirs.iter().try_for_each(|dir| limits.change_memory(dir))?;
            enforced.memory_mb = Some(limits.memory_mb);
        }
        if enforced.vcpus.is_some() {
            self.membership.dirs.iter().try_for_each(|dir| limits.change_cpus(dir))?;
            enforced.vcpus = Some(limits.cpus);
        }
        Ok(enforced)
    }

    /// Lets them go on.
    pub fn thaw(&self) -> io::Result<()> {
        match &self.membership.thaw {
            Some((file, word)) => fs::write(file, word),
            None => Ok(()),
        }
    }

    /// Removes the groups. The last process must have ended.
    pub fn remove(&self) {
        for dir in &self.membership.dirs {
            let _ = remove(dir);
        }
    }
}

/// What a machine may use, never more than the computer has.
struct Limits {
    cpus: u32,
    memory_mb: u32,
    processes: u32,
}

impl Limits {
    fn clamped(shape: Shape, processes: u32) -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
        let memory = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_mb(&text));
        Self {
            cpus: shape.vcpus.clamp(1, cpus),
            memory_mb: memory.map_or(shape.memory_mb, |total| shape.memory_mb.min(total)),
            processes,
        }
    }

    fn bytes(&self) -> String {
        (u64::from(self.memory_mb) << 20).to_string()
    }

    fn set_v1(&self, controller: Controller, dir: &Path, group: &mut Group) {
        let set = |file: &str, value: String| fs::write(dir.join(file), value).is_ok();
        match controller {
            Controller::Cpu => {
                let quota = u64::from(self.cpus) * 100_000;
                if set("cpu.cfs_period_us", "100000".into())
                    && set("cpu.cfs_quota_us", quota.to_string())
                {
                    group.enforced.vcpus = Some(self.cpus);
                }
            }
            Controller::Memory => {
                if set("memory.limit_in_bytes", self.bytes()) {
                    group.enforced.memory_mb = Some(self.memory_mb);
                    // Only kernels that account swap have it.
                    set("memory.memsw.limit_in_bytes", self.bytes());
                }
            }
            Controller::Pids => {
                if set("pids.max", self.processes.to_string()) {
                    group.enforced.processes = Some(self.processes);
                }
            }
            Controller::Freezer => {
                group.membership.thaw = Some((dir.join("freezer.state"), "THAWED".to_owned()));
                group.freezer = Some(Freezer::V1(dir.to_owned()));
            }
        }
    }

    /// Of whichever version the group is of.
    fn change_memory(&self, dir: &Path) -> io::Result<()> {
        let limit = dir.join("memory.limit_in_bytes");
        if limit.exists() {
            // The limit with swap is never below the one without: it goes first on the way up, last on the way down.
            let with_swap = dir.join("memory.memsw.limit_in_bytes");
            let raised = fs::write(&with_swap, self.bytes());
            fs::write(limit, self.bytes())?;
            if raised.is_err() {
                let _ = fs::write(with_swap, self.bytes());
            }
        }
        let max = dir.join("memory.max");
        if max.exists() { fs::write(max, self.bytes()) } else { Ok(()) }
    }

    fn change_cpus(&self, dir: &Path) -> io::Result<()> {
        let quota = u64::from(self.cpus) * 100_000;
        let (v1, v2) = (dir.join("cpu.cfs_quota_us"), dir.join("cpu.max"));
        if v1.exists() {
            fs::write(v1, quota.to_string())?;
        }
        if v2.exists() { fs::write(v2, format!("{quota} 100000")) } else { Ok(()) }
    }

    fn enable_v2(base: &Path) {
        let file = base.join("cgroup.subtree_control");
        let on = fs::read_to_string(&file).unwrap_or_default();
        for name in ["cpu", "memory", "pids"] {
            if !on.split_whitespace().any(|c| c == name) {
                // Refused where the controller is not ours to give; the limit is then reported as not enforced.
                let _ = fs::write(&file, format!("+{name}"));
            }
        }
    }

    fn set_v2(&self, dir: &Path, group: &mut Group) {
        let set = |file: &str, value: String| fs::write(dir.join(file), value).is_ok();
        let enforced = &mut group.enforced;
        if enforced.vcpus.is_none()
            && set("cpu.max", format!("{} 100000", u64::from(self.cpus) * 100_000))
        {
            enforced.vcpus = Some(self.cpus);
        }
        if enforced.memory_mb.is_none() && set("memory.max", self.bytes()) {
            enforced.memory_mb = Some(self.memory_mb);
            set("memory.swap.max", "0".into());
        }
        if enforced.processes.is_none() && set("pids.max", self.processes.to_string()) {
            enforced.processes = Some(self.processes);
        }
        if group.freezer.is_none() && dir.join("cgroup.freeze").exists() {
            group.membership.thaw = Some((dir.join("cgroup.freeze"), "0".to_owned()));
            group.freezer = Some(Freezer::V2(dir.to_owned()));
        }
    }
}

/// Where the emulator's own groups are: the directory of each wanted controller of version 1, and of version 2.
fn places(mountinfo: &str, own: &str) -> (Vec<(Controller, PathBuf)>, Option<PathBuf>) {
    // `36 25 0:30 /root /mount/point options shared:1 - type source super,options`
    let mounts: Vec<(&str, &str, &str, &str)> = mountinfo
        .lines()
        .filter_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let mut before = before.split(' ').skip(3);
            let mut after = after.split(' ');
            Some((before.next()?, before.next()?, after.next()?, after.nth(1)?))
        })
        .collect();
    // `4:memory:/path`, and `0::/path` for version 2.
    let own_path = |wanted: &str| {
        own.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let names = fields.next()?;
            let path = fields.next()?;
            names.split(',').any(|name| name == wanted).then_some(path)
        })
    };
    let place = |root: &str, point: &str, path: &str| {
        // In a container the mount shows a part of the tree, whose root is the group's own path.
        let within = if root == "/" { path } else { path.strip_prefix(root).unwrap_or("") };
        PathBuf::from(point).join(within.trim_start_matches('/'))
    };
    let v1 = CONTROLLERS
        .iter()
        .filter_map(|(controller, name)| {
            let (root, point, ..) = mounts.iter().find(|(_, _, kind, options)| {
                *kind == "cgroup" && options.split(',').any(|o| o == *name)
            })?;
            Some((*controller, place(root, point, own_path(name)?)))
        })
        .collect();
    let v2 = mounts
        .iter()
        .find(|(_, _, kind, _)| *kind == "cgroup2")
        .and_then(|(root, point, ..)| Some(place(root, point, own_path("")?)));
    (v1, v2)
}

/// `MemTotal` in MiB.
fn total_mb(meminfo: &str) -> Option<u32> {
    let line = meminfo.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    u32::try_from(kib / 1024).ok()
}

/// Kills what is in the groups, frozen or not: what one group holds another may freeze. Blocks up to a second.
fn kill_all(dirs: &[PathBuf]) {
    let deadline = Instant::now() + Duration::from_secs(1);
    loop {
        let mut any = false;
        for dir in dirs {
            let processes = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            for id in processes.lines().filter_map(|line| line.trim().parse().ok()) {
                any = true;
                let _ = nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(id),
                    nix::sys::signal::SIGKILL,
                );
            }
        }
        for dir in dirs {
            // Only one of the two is there, and a control group takes no new files.
            let _ = fs::write(dir.join("freezer.state"), "THAWED");
            let _ = fs::write(dir.join("cgroup.freeze"), "0");
        }
        if !any || Instant::now() > deadline {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Removes a group. It can be busy for a moment after its last process has ended; blocks up to a second.
pub fn remove(dir: &Path) -> io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(1);
    loop {
        match fs::remove_dir(dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(e) => return Err(e),
            Ok(()) => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_trees_of_version_1_with_several_controllers_on_one() {
        let mounts = "30 23 0:26 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                      31 23 0:27 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n";
        let own = "4:memory:/a/b\n1:cpu,cpuacct:/\n";
        let (v1, v2) = places(mounts, own);
        assert_eq!(
            v1,
            [
                (Controller::Cpu, PathBuf::from("/sys/fs/cgroup/cpu,cpuacct/")),
                (Controller::Memory, PathBuf::from("/sys/fs/cgroup/memory/a/b")),
            ]
        );
        assert_eq!(v2, None);
    }

    #[test]
    fn finds_the_one_tree_of_version_2() {
        let mounts = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let (v1, v2) = places(mounts, "0::/user.slice/app.slice/run.scope\n");
        assert!(v1.is_empty());
        assert_eq!(v2, Some(PathBuf::from("/sys/fs/cgroup/user.slice/app.slice/run.scope")));
    }

    #[test]
    fn a_container_sees_its_own_group_as_the_mount_itself() {
        let mounts = "30 23 0:26 /docker/abc /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids\n";
        let (v1, _) = places(mounts, "8:pids:/docker/abc\n");
        assert_eq!(v1, [(Controller::Pids, PathBuf::from("/sys/fs/cgroup/pids/"))]);
    }

    #[test]
    fn reads_the_total_memory() {
        assert_eq!(total_mb("MemTotal:        2048000 kB\nMemFree: 1 kB\n"), Some(2000));
        assert_eq!(total_mb(""), None);
    }

    #[test]
    fn both_versions_freeze_and_thaw_a_busy_process() {
        let name = format!("miosa-test-{}", std::process::id());
        let here = Trees::discover(&format!("{name}-probe"));
        let shape = Shape { vcpus: 1, memory_mb: 64, disk_mb: 1 };
        let only_v1 = Trees { v2: None, ..here.clone() };
        let only_v2 = Trees { v1: Vec::new(), ..here };
        for (version, trees) in
            [("v1", only_v1), ("v2", only_v2)].into_iter().filter(|(_, t)| t.any())
        {
            let group = trees.make(&format!("{name}-{version}"), shape, 50);
            let file = tempfile::NamedTempFile::new().unwrap();
            let line = format!("while :; do echo >> {}; done", file.path().display());
            let mut busy = std::process::Command::new("sh").args(["-c", &line]).spawn().unwrap();
            for procs in &group.membership.join {
                fs::write(procs, busy.id().to_string()).unwrap();
            }
            let size = || file.path().metadata().unwrap().len();
            let grows_from = |from| {
                let deadline = Instant::now() + Duration::from_secs(10);
                while size() == from && Instant::now() < deadline {
                    std::thread::sleep(Duration::from_millis(1));
                }
                size() > from
            };
            assert!(grows_from(0), "{version}");
            if group.can_freeze() {
                group.freeze().unwrap();
                let before = size();
                std::thread::sleep(Duration::from_millis(100));
                assert_eq!(size(), before, "{version}");
                group.thaw().unwrap();
                assert!(grows_from(before), "{version}");
                group.freeze().unwrap();
            }
            // The sweep of a later run ends it, frozen or not, and takes the groups away.
            trees.sweep(&format!("{name}-{version}"));
            assert!(!busy.wait().unwrap().success(), "{version}");
            assert!(group.membership.dirs.iter().all(|dir| !dir.exists()), "{version}");
        }
    }
}
