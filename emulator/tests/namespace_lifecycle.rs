//! What becomes of a machine's files and processes from create to remove.

#[path = "namespace/machines.rs"]
mod machines;

use machines::bench;
use miosa_emulator::machines::MachineHost;

#[tokio::test]
async fn a_machine_starts_with_its_name_environment_and_tools() {
    let bench = bench().await;
    let started = std::time::Instant::now();
    let mut machine = bench.blank().await;
    println!("created in {:?}", started.elapsed());
    let started = std::time::Instant::now();
    assert_eq!(machine.ok("echo $GREETING; hostname").await, "hello there\nbox");
    println!("answered in {:?}", started.elapsed());
    println!("{}", machine.ok("id; ls -la / /dev /run; cat /proc/mounts; grep Cap /proc/self/status; cat /etc/hosts; ls -la /proc/self/fd; ps aux; python --version; ulimit -a").await);
    println!("{:?}", machine.run("touch /usr/local/lib/x /usr/share/x /workspace/x /etc/x; ls -la /usr/bin | head -4; cat /proc/self/cgroup; rm /usr/bin/perl; mount; ip a").await);
    bench.host.remove(machine.id).await.unwrap();
}
