//! The walls of a machine: each test tries to get through one, and must fail to.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "namespace/machines.rs"]
mod machines;

use std::net::{IpAddr, TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;

use machines::{Machine, PROCESSES, bench, eventually, processes_with};
use miosa_emulator::machines::{MachineHost, NoteLevel, Shape};
use uuid::Uuid;

#[tokio::test]
async fn it_sees_no_process_of_the_host() {
    let bench = bench().await;
    let mut machine = bench.blank().await;
    let inside = machine.ok("ls -d /proc/[0-9]* | wc -l").await.parse::<usize>().unwrap();
    assert!(inside < 10, "{inside}");
    let name = std::env::current_exe().unwrap();
    let name = name.file_name().unwrap().to_string_lossy().into_owned();
    // In brackets, so that the line that looks does not find itself.
    let pattern = format!("[{}]{}", &name[..1], &name[1..]);
    machine.refused(&format!("cat /proc/[0-9]*/cmdline | grep -aq '{pattern}'")).await;
    assert_eq!(
        machine.ok("readlink /proc/self/ns/pid").await,
        machine.ok("readlink /proc/1/ns/pid").await
    );
}

#[tokio::test]
async fn it_signals_no_process_of_the_host() {
    let bench = bench().await;
    let mut machine = bench.blank().await;
    let own = std::process::id();
    // The number could exist inside too, were it small.
    if own > 1000 {
        machine.refused(&format!("kill -0 {own}")).await;
    }
    let mut other = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    machine.run("kill -TERM -1").await;
    assert!(other.try_wait().unwrap().is_none());
    other.kill().unwrap();
    other.wait().unwrap();
}

#[tokio::test]
async fn it_reads_nothing_of_the_hosts_homes_passwords_and_data() {
    let bench = bench().await;
    let mut machine = bench.blank().await;
    let elsewhere = tempfile::TempDir::new().unwrap();
    let secret = elsewhere.path().join("secret");
    std::fs::write(&secret, "SECRET").unwrap();
    machine.refused(&format!("cat {}", secret.display())).await;
    machine.refused(&format!("ls {}", bench.data.path().display())).await;
    // A file of its own, in which nobody has a password.
    machine.refused("grep -v ':[*]:' /etc/shadow").await;
    machine.refused("ls /etc/ssl/private").await;
    assert_eq!(machine.ok("ls -A /root").await, "");
    assert_eq!(machine.ok("ls -A /home").await, "sandbox");
    for link in ["/proc/1/root", "/proc/1/cwd", "/proc/self/root"] {
        machine.refused(&format!("cat {link}{}", secret.display())).await;
        machine.refused(&format!("ls {link}/..{}", bench.data.path().display())).await;
    }
    // What is mounted names no path of the host beyond our own short ones.
    let mounts = machine.ok("cat /proc/self/mountinfo").await;
    assert!(!mounts.contains(&*bench.data.path().to_string_lossy()), "{mounts}");
}

#[tokio::test]
async fn a_chroot_within_leads_back_to_its_own_root_only() {
    let bench = bench().await;
    let mut machine = bench.blank().await;
    let escape = "import os; os.mkdir('/tmp/j'); f=os.open('/',0); os.chroot('/tmp/j'); os.fchdir(f); \
                  [os.chdir('..') for _ in range(99)]; os.chroot('.'); print(os.path.exists(os.sys.argv[1]))";
    let data = bench.data.path().display();
    assert_eq!(machine.ok(&format!("python3 -c \"{escape}\" {data}")).await, "False");
}

#[tokio::test]
async fn what_it_writes_below_usr_stays_inside() {
    let bench = bench().await;
    let mut machine = bench.blank().await;
    let name = format!("miosa-{}", Uuid::new_v4());
    for dir in ["/usr/bin", "/usr/local/lib", "/etc", "/tmp", "/var/lib"] {
        machine.ok(&format!("touch {dir}/{name}")).await;
        assert!(!Path::new(dir).join(&name).exists(), "{dir}");
    }
    machine.ok("rm /usr/bin/env").await;
    assert!(Path::new("/usr/bin/env").exists());
}

#[tokio::test]
async fn it_mounts_and_unmounts_nothing() {
    let bench = bench().await;
    let mut machine = bench.blank().await;
    for line in [
        "mount -t tmpfs none /mnt",
        "mount -t proc none /mnt",
        "mount -t overlay -o userxattr,lowerdir=/usr,upperdir=/tmp,workdir=/var/tmp o /mnt",
        "mount --bind / /mnt",
        "mount -o remount,rw,bind /proc/sys",
        "mount -o remount,rw /run/miosa",
        "mount -o remount,rw /proc",
        "mount --move /proc /mnt",
        "umount /proc/sys",
        "umount -l /usr",
        "umount -l /",
        "pivot_root / /mnt",
        "unshare --mount true",
        "unshare --user true",
        "unshare --user --map-root-user --mount true",
        "unshare --net true",
        "nsenter --target 1 --mount true",
        "nsenter --target 1 --user true",
        "mknod /tmp/disk b 8 0",
        "mknod /tmp/mem c 1 1",
        "hostname other",
        "ip link add type dummy",
    ] {
        machine.refused(line).await;
    }
    assert_eq!(machine.ok("hostname").await, "box");
}

#[tokio::test]
async fn it_changes_no_setting_of_the_kernel() {
    let bench = bench().await;
    let mut machine = bench.blank().await;
    // `h` only prints help, should the wall be missing.
    for line in [
        "echo h > /proc/sysrq-trigger",
        "echo '|/tmp/x' > /proc/sys/kernel/core_pattern",
        "echo 1 > /proc/sys/vm/drop_caches",
        "echo 1000 > /proc/sys/user/max_user_namespaces",
        "echo x > /proc/sys/kernel/hostname",
        "head -c 1 /proc/kcore | grep -q .",
        "head -c 1 /dev/kmsg",
        "head -c 1 /dev/mem",
        "dmesg --clear",
        "date -s 2001-01-01",
        "chmod 777 /dev/null",
        "rmmod ext4",
    ] {
        machine.refused(line).await;
    }
    assert_eq!(machine.ok("ls -A /sys").await, "");
}

#[tokio::test]
async fn root_inside_has_lost_what_it_does_not_need() {
    let bench = bench().await;
    let mut machine = bench.blank().await;
    assert_eq!(machine.ok("grep NoNewPrivs /proc/self/status | cut -f2").await, "1");
    // The same bits for a process, for what it executes, and as the bound of both.
    let sets =
        machine.ok("grep -E '^Cap(Prm|Eff|Bnd)' /proc/self/status | cut -f2 | sort -u").await;
    let bits = u64::from_str_radix(&sets, 16).unwrap();
    for (name, bit) in [
        ("SYS_ADMIN", 21),
        ("SYS_PTRACE", 19),
        ("NET_ADMIN", 12),
        ("NET_RAW", 13),
        ("MKNOD", 27),
        ("DAC_READ_SEARCH", 2),
        ("SYS_MODULE", 16),
        ("SYS_RAWIO", 17),
        ("BPF", 39),
        ("SYS_TIME", 25),
    ] {
        assert_eq!(bits >> bit & 1, 0, "{name}");
    }
}

#[tokio::test]
async fn root_inside_is_not_root_outside() {
    let bench = bench().await;
    let mut machine = bench.blank().await;
    let mark = Uuid::new_v4().to_string();
    machine.ok(&format!("(exec -a {mark} sleep 1000) & disown; touch /workspace/mine")).await;
    eventually("it runs", || processes_with(&mark).len() == 1).await;
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", processes_with(&mark)[0])).unwrap();
    let line = |name: &str| status.lines().find(|l| l.starts_with(name)).unwrap().to_owned();
    assert!(!line("Uid:").split_whitespace().any(|id| id == "0"), "{status}");
    assert!(!line("Gid:").split_whitespace().any(|id| id == "0"), "{status}");
    if nix::unistd::geteuid().is_root() {
        assert_eq!(line("Groups:").split_whitespace().count(), 1, "{status}");
    }
}

#[tokio::test]
async fn it_reaches_no_listener_of_the_host() {
    let bench = bench().await;
    let mut machine = bench.blank().await;
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let name = format!("miosa-{}", Uuid::new_v4());
    let _abstract =
        UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    // Asking for a route sends nothing.
    let probe = UdpSocket::bind("0.0.0.0:0").unwrap();
    let outward = probe.connect("192.0.2.1:9").and_then(|()| probe.local_addr()).map(|a| a.ip());
    let mut targets: Vec<IpAddr> = vec!["127.0.0.1".parse().unwrap()];
    targets.extend(outward.ok());
    for target in targets {
        std::net::TcpStream::connect((target, port)).unwrap();
        machine.refused(&format!("timeout 5 bash -c 'exec 3<>/dev/tcp/{target}/{port}'")).await;
    }
    let connect = "import socket,sys; socket.socket(socket.AF_UNIX).connect('\\0'+sys.argv[1])";
    machine.refused(&format!("python3 -c \"{connect}\" {name}")).await;
    for path in
        ["/var/run/docker.sock", "/run/docker.sock", "/run/dbus/system_bus_socket", "/run/systemd"]
    {
        machine.refused(&format!("test -e {path}")).await;
    }
    assert_eq!(machine.ok("ls /proc/sys/net/ipv4/conf | tr '\\n' ' '").await, "all default lo");
}

#[tokio::test]
async fn two_machines_share_neither_files_nor_processes_nor_ports() {
    let bench = bench().await;
    let (mut one, mut two) = (bench.blank().await, bench.blank().await);
    one.ok("echo mine > /workspace/a; echo mine > /tmp/a; echo mine > /dev/shm/a; echo mine > /run/a; touch /usr/bin/a").await;
    two.refused("ls /workspace/a || ls /tmp/a || ls /dev/shm/a || ls /run/a || ls /usr/bin/a")
        .await;
    one.ok("python3 -m http.server 8000 >/dev/null 2>&1 & disown").await;
    let connect = "exec 3<>/dev/tcp/127.0.0.1/8000";
    one.ok(&format!("until bash -c '{connect}' 2>/dev/null; do sleep 0.05; done")).await;
    two.refused(&format!("bash -c '{connect}'")).await;
    let mark = Uuid::new_v4().to_string();
    one.ok(&format!("(exec -a {mark} sleep 1000) & disown")).await;
    eventually("it runs", || processes_with(&mark).len() == 1).await;
    two.refused(&format!("cat /proc/[0-9]*/cmdline | grep -aq '[{}]{}'", &mark[..1], &mark[1..]))
        .await;
    assert_ne!(
        one.ok("readlink /proc/self/ns/user").await,
        two.ok("readlink /proc/self/ns/user").await
    );
}

#[tokio::test]
async fn no_descriptor_of_the_emulator_leaks_in() {
    let bench = bench().await;
    let secret = tempfile::NamedTempFile::new().unwrap();
    // Not close-on-exec: as an emulator may itself have inherited it.
    let leaked =
        nix::fcntl::open(secret.path(), nix::fcntl::OFlag::O_RDONLY, nix::sys::stat::Mode::empty())
            .unwrap();
    let mut machine = bench.blank().await;
    let open = machine.ok("ls -l /proc/1/fd").await;
    let name = secret.path().file_name().unwrap().to_string_lossy().into_owned();
    assert!(!open.contains(&name), "{open}");
    assert_eq!(
        open.lines()
            .filter(|l| l.contains("->") && !l.contains("socket:") && !l.contains("/dev/null"))
            .count(),
        0,
        "{open}"
    );
    drop(leaked);
}

#[tokio::test]
async fn nothing_outlives_its_machine() {
    let bench = bench().await;
    let mut machine = bench.blank().await;
    let mark = Uuid::new_v4().to_string();
    // A new session, twice forked, all signals ignored.
    let stubborn = format!("trap \"\" TERM INT HUP QUIT; (exec -a {mark} sleep 1000)");
    let daemon =
        format!("setsid setsid bash -c '({stubborn}) & ' >/dev/null 2>&1 </dev/null & disown");
    machine.ok(&daemon).await;
    eventually("it runs", || !processes_with(&mark).is_empty()).await;
    bench.host.stop(machine.id).await.unwrap();
    assert!(processes_with(&mark).is_empty());
    let mut machine = Machine::new(machine.id, bench.host.start(machine.id).await.unwrap());
    machine.ok(&daemon).await;
    eventually("it runs", || !processes_with(&mark).is_empty()).await;
    bench.host.remove(machine.id).await.unwrap();
    assert!(processes_with(&mark).is_empty());
}

#[tokio::test]
async fn root_inside_can_become_another_user_inside() {
    if !nix::unistd::geteuid().is_root() {
        // An ordinary user has one id to give: nobody else exists inside.
        return;
    }
    let bench = bench().await;
    let mut machine = bench.blank().await;
    assert_eq!(machine.ok("su sandbox -c 'id -un'").await, "sandbox");
    machine.refused("su sandbox -c 'touch /usr/bin/x || touch /etc/x || ls /root'").await;
    machine.ok("chown 65534:65534 /workspace").await;
    machine.refused("chown 65536 /workspace").await;
}

#[tokio::test]
async fn a_fork_bomb_meets_the_limit() {
    let bench = bench().await;
    let mut machine = bench.blank().await;
    let bomb = "import os,time\nn=0\ntry:\n  while n<2000:\n    if os.fork()==0: time.sleep(1000)\n    n+=1\nexcept OSError: pass\nprint(n)";
    let made = machine.ok(&format!("python3 -c '{bomb}'")).await.parse::<u32>().unwrap();
    assert!(made < PROCESSES && made > PROCESSES / 2, "{made}");
    machine.run("kill -9 -1").await;
    bench.host.remove(machine.id).await.unwrap();
}

#[tokio::test]
async fn a_memory_hog_is_killed_and_the_machine_lives() {
    let bench = bench().await;
    let enforced = bench.host.probe().await.unwrap();
    if enforced.memory_mb.is_none() {
        return;
    }
    let mut machine = bench.blank().await;
    // `tail` keeps a line until it ends: this one never does.
    let (_, code) = machine.run("head -c 600m /dev/zero | tail > /dev/null").await;
    assert_eq!(code, 137);
    machine.ok("true").await;
}

#[tokio::test]
async fn what_is_enforced_is_said_and_never_more_than_the_host_has() {
    let bench = bench().await;
    let mut spec = machines::spec(miosa_emulator::machines::Base::Template("blank".into()));
    spec.shape = Shape { vcpus: 1000, memory_mb: 100_000_000, disk_mb: 10 };
    let started = bench.host.create(&spec).await.unwrap();
    let enforced = started.enforced;
    assert_eq!(enforced.disk_mb, None);
    assert_eq!(enforced.processes, Some(PROCESSES));
    let cpus = std::thread::available_parallelism().unwrap().get() as u32;
    assert!(enforced.vcpus.is_none_or(|n| n <= cpus), "{enforced:?}");
    assert!(enforced.memory_mb.is_none_or(|n| n < 100_000_000), "{enforced:?}");
    if nix::unistd::geteuid().is_root() {
        println!("{enforced:?}");
    }
    let notes = bench.host.notes().await;
    let level = |topic: &str| notes.iter().find(|n| n.topic == topic).unwrap().level;
    assert_eq!(level("namespaces"), NoteLevel::Ok, "{notes:?}");
    assert_eq!(level("disk"), NoteLevel::Limited);
    assert_eq!(
        level("memory"),
        if enforced.memory_mb.is_some() { NoteLevel::Ok } else { NoteLevel::Limited }
    );
    assert_eq!(
        level("cpu"),
        if enforced.vcpus.is_some() { NoteLevel::Ok } else { NoteLevel::Limited }
    );
}

#[test]
fn all_of_it_holds_for_an_ordinary_user() {
    machines::again_as_an_ordinary_user("all_of_it_holds_for_an_ordinary_user");
}
