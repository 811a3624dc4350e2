//! Tunnels, the way out, the agent's own streams and its end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "agent/room.rs"]
mod room;

use room::*;

#[tokio::test]
async fn a_tunnel_ends_each_direction_by_itself() {
    let room = room().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tunnel: Tunnel = room.agent.tcp(port).await.unwrap();
    let (mut socket, _) = listener.accept().await.unwrap();
    // Ours first: the other side sees the end, and can still answer at length.
    tunnel.write_all(b"question").await.unwrap();
    tunnel.shutdown().await.unwrap();
    let mut heard = String::new();
    socket.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "question");
    socket.write_all(&vec![9; 1_000_000]).await.unwrap();
    drop(socket);
    let mut answer = Vec::new();
    tunnel.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer.len(), 1_000_000);
    // Theirs first.
    let mut tunnel = room.agent.tcp(port).await.unwrap();
    let (mut socket, _) = listener.accept().await.unwrap();
    socket.shutdown().await.unwrap();
    assert_eq!(tunnel.read(&mut [0; 8]).await.unwrap(), 0);
    tunnel.write_all(b"still here").await.unwrap();
    tunnel.shutdown().await.unwrap();
    heard.clear();
    socket.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "still here");
    // Dropped: both ends.
    let tunnel = room.agent.tcp(port).await.unwrap();
    let (mut socket, _) = listener.accept().await.unwrap();
    drop(tunnel);
    let ended = tokio::time::timeout(BOUND, socket.read(&mut [0; 8])).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)));
    drop(listener);
    let refused = room.agent.tcp(port).await.map(|_| ());
    assert_eq!(code(refused), FailureCode::ConnectionRefused);
}

#[tokio::test]
async fn ports_and_usage_are_those_of_the_machine() {
    let room = room().await;
    let before = room.agent.usage().await.unwrap();
    assert_eq!(before.processes, 0);
    let program = "import socket,time\ns=socket.create_server(('127.0.0.1',0))\n\
                   print(s.getsockname()[1],flush=True)\ntime.sleep(1000)";
    let argv = Command::Argv(vec!["python3".into(), "-c".into(), program.into()]);
    let mut server = room.agent.exec(exec(argv)).await.unwrap();
    let port: u16 = read_until(&mut server, "\n").await.trim().parse().unwrap();
    let ports = room.agent.ports().await.unwrap().ports;
    assert_eq!(ports.len(), 1);
    assert_eq!((ports[0].port, ports[0].pid), (port, Some(server.pid)));
    said(&room.agent, "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done").await;
    let after = room.agent.usage().await.unwrap();
    assert!(after.cpu_ms > before.cpu_ms, "{after:?}");
    assert_eq!(after.processes, 1);
    assert!(after.memory_bytes > 1_000_000);
}

#[tokio::test]
async fn frozen_processes_stand_still_and_a_thaw_spares_those_stopped_before() {
    let room = room().await;
    let state = |pid: i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit_once(") ").unwrap().1.chars().next().unwrap()
    };
    let running = room.agent.exec(shell("exec sleep 1000")).await.unwrap();
    let stopped = room.agent.exec(shell("kill -STOP $$; exec sleep 1000")).await.unwrap();
    until("it has stopped itself", async || state(stopped.pid) == 'T').await;
    room.agent.freeze().await.unwrap();
    room.agent.freeze().await.unwrap();
    assert_eq!((state(running.pid), state(stopped.pid)), ('T', 'T'));
    room.agent.thaw().await.unwrap();
    until("it goes on", async || state(running.pid) == 'S').await;
    assert_eq!(state(stopped.pid), 'T');
}

#[tokio::test]
async fn the_end_of_the_stream_ends_every_process() {
    let mut room = room().await;
    let deaf = "trap '' TERM; sleep 1000 & echo $!; while true; do sleep 1; done";
    let mut running = room.agent.exec(shell(deaf)).await.unwrap();
    let pid = read_until(&mut running, "\n").await;
    let daemon = said(&room.agent, "setsid sleep 1000 > /dev/null 2>&1 & echo $!").await;
    assert!(alive(&pid) && alive(&daemon));
    room.agent.close();
    drop(running);
    tokio::time::timeout(BOUND, room.process.wait()).await.unwrap().unwrap();
    assert!(!alive(&pid) && !alive(&daemon));
}

#[tokio::test]
async fn a_shutdown_gives_processes_their_grace() {
    let mut room = room().await;
    let polite =
        "trap 'echo bye > farewell; exit' TERM; echo ready; while true; do sleep 0.01; done";
    let mut running = room.agent.exec(shell(polite)).await.unwrap();
    read_until(&mut running, "ready").await;
    room.agent.shutdown(Duration::from_secs(5)).await.unwrap();
    tokio::time::timeout(BOUND, room.agent.closed()).await.unwrap();
    assert!(room.agent.is_closed());
    let status = tokio::time::timeout(BOUND, room.process.wait()).await.unwrap().unwrap();
    assert!(status.success());
    assert_eq!(std::fs::read_to_string(room.path("farewell")).unwrap(), "bye\n");
    assert!(matches!(room.agent.health().await, Err(MachineError::AgentUnreachable(_))));
}

#[tokio::test]
async fn closing_the_connection_ends_what_is_still_held() {
    let mut room = room().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut tunnel = room.agent.tcp(listener.local_addr().unwrap().port()).await.unwrap();
    let mut running = room.agent.exec(shell("echo $$; exec sleep 1000")).await.unwrap();
    let pid = read_until(&mut running, "\n").await;
    room.agent.close();
    tokio::time::timeout(BOUND, room.agent.closed()).await.unwrap();
    let lost = tokio::time::timeout(BOUND, running.next()).await.unwrap();
    assert!(matches!(lost, Some(Err(MachineError::AgentUnreachable(_)))), "{lost:?}");
    assert!(running.next().await.is_none());
    let cut = tokio::time::timeout(BOUND, tunnel.read(&mut [0; 8])).await.unwrap();
    assert!(cut.is_err());
    tokio::time::timeout(BOUND, room.process.wait()).await.unwrap().unwrap();
    assert!(!alive(&pid));
}

#[tokio::test]
async fn a_start_that_nobody_waits_for_leaves_no_process() {
    let room = room().await;
    for pause in 0..20 {
        let starting = room.agent.exec(shell("exec sleep 1000"));
        let _ = tokio::time::timeout(Duration::from_micros(pause * 100), starting).await;
    }
    until("every one of them is gone", async || room.agent.usage().await.unwrap().processes == 0)
        .await;
}

#[tokio::test]
async fn a_command_that_cannot_be_is_refused_before_anything_runs() {
    let room = room().await;
    let empty = exec(Command::Argv(Vec::new()));
    assert_eq!(code(room.agent.run(empty, None, 10).await), FailureCode::InvalidRequest);
    assert_eq!(code(room.agent.run(shell("a\0b"), None, 10).await), FailureCode::InvalidRequest);
    for name in ["", "A=B", "A\0"] {
        let mut wrong = shell("true");
        wrong.env.insert(name.to_owned(), "x".to_owned());
        assert_eq!(code(room.agent.run(wrong, None, 10).await), FailureCode::InvalidRequest);
    }
    let mut huge = shell("true");
    huge.env.insert("A".to_owned(), "x".repeat(200_000));
    assert_eq!(code(room.agent.run(huge, None, 10).await), FailureCode::InvalidRequest);
}

/// A lingering agent with a socket name of its own.
async fn lingering() -> (Room, String) {
    let name = format!("miosa-test-{}-{:?}", std::process::id(), std::thread::current().id());
    (room_with(&["--linger", "--socket", &name]).await, name)
}

async fn bridge(room: &Room, name: &str, secret: &[u8]) -> (Child, AgentStream) {
    let (child, mut stream) = piped(program(room.dir.path(), "connect", &["--socket", name]));
    stream.write_all(secret).await.unwrap();
    (child, stream)
}

fn secret() -> Vec<u8> {
    let digits: Vec<u32> = SECRET.chars().map(|digit| digit.to_digit(16).unwrap()).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

#[tokio::test]
async fn a_newer_stream_closes_the_older_and_its_commands_but_not_the_machine() {
    let (room, name) = lingering().await;
    let mut old = room.agent.exec(shell("echo $$; exec sleep 1000")).await.unwrap();
    let victim = read_until(&mut old, "\n").await;
    let daemon = said(&room.agent, "nohup sleep 1000 > /dev/null 2>&1 & echo $!").await;
    let (_child, stream) = bridge(&room, &name, &secret()).await;
    let agent = Agent::connect(stream).await.unwrap();
    tokio::time::timeout(BOUND, room.agent.closed()).await.unwrap();
    until("the old command is gone", async || !alive(&victim)).await;
    assert!(alive(&daemon));
    assert_eq!(said(&agent, "echo new").await, "new\n");
    // The end of a stream is not the end either.
    drop(agent);
    let (_child, stream) = bridge(&room, &name, &secret()).await;
    let agent = Agent::connect(stream).await.unwrap();
    assert_eq!(said(&agent, "echo newest").await, "newest\n");
    assert!(alive(&daemon));
    agent.shutdown(Duration::from_secs(5)).await.unwrap();
    until("the machine has ended", async || !alive(&daemon)).await;
}

#[tokio::test]
async fn a_wrong_secret_is_refused_and_disturbs_nobody() {
    let (room, name) = lingering().await;
    let mut wrong = secret();
    wrong[31] ^= 1;
    let (mut child, stream) = bridge(&room, &name, &wrong).await;
    assert!(Agent::connect(stream).await.is_err());
    tokio::time::timeout(BOUND, child.wait()).await.unwrap().unwrap();
    assert_eq!(said(&room.agent, "echo still here").await, "still here\n");
}

#[tokio::test]
async fn garbage_ends_the_machine_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, mut stream) = piped(program(dir.path(), "serve", &[]));
    let garbage: Vec<u8> =
        (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    // It may hang up before it has read everything.
    let _ = stream.write_all(&garbage).await;
    let status = tokio::time::timeout(BOUND, child.wait()).await.unwrap().unwrap();
    assert!(status.success(), "{status:?}");
}

/// A line that says what of a process's streams and memory it could open.
fn reach(pid: u32) -> String {
    format!(
        "for f in $(seq 0 40) ; do (: < /proc/{pid}/fd/$f) 2>/dev/null && echo reads $f; \
         (: >> /proc/{pid}/fd/$f) 2>/dev/null && echo writes $f; done; \
         for f in mem environ; do head -c1 /proc/{pid}/$f > /dev/null 2>&1 && echo reads $f; done; \
         echo nothing"
    )
}

#[tokio::test]
async fn no_command_can_touch_the_agents_streams() {
    let room = room().await;
    let agent = room.process.id().unwrap();
    // Whoever runs this test, root included: an agent is not dumpable and gives up SYS_PTRACE.
    let line =
        format!("ls -l /proc/{agent}/fd > /dev/null 2>&1 && echo open; ls /proc/self/fd | wc -w");
    assert_eq!(said(&room.agent, &line).await, "4\n");
}

/// A program inside that asks the proxy for something, and what it heard.
async fn ask_proxy(port: u16, request: &str) -> (tokio::net::TcpStream, String) {
    let mut socket = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    while !heard.ends_with(b"\r\n\r\n") {
        match socket.read_u8().await {
            Ok(byte) => heard.push(byte),
            Err(_) => break,
        }
    }
    (socket, String::from_utf8(heard).unwrap())
}

#[tokio::test]
async fn the_way_out_leads_through_the_emulators_verdict() {
    let port = {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        free.local_addr().unwrap().port()
    };
    let room = room_with(&["--egress-proxy", "--egress-port", &port.to_string()]).await;
    assert!(room.agent.ports().await.unwrap().ports.is_empty(), "the proxy is not the machine's");
    let connect = "CONNECT pypi.org:443 HTTP/1.1\r\nHost: pypi.org:443\r\n\r\n";

    let asking = tokio::spawn(ask_proxy(port, connect));
    let leaving = room.agent.accept_egress().await.unwrap();
    assert_eq!(leaving.target, "pypi.org:443");
    let mut tunnel = leaving.accept().await.unwrap();
    let (mut inside, heard) = asking.await.unwrap();
    assert!(heard.starts_with("HTTP/1.1 200 "), "{heard}");
    tunnel.write_all(b"answer").await.unwrap();
    tunnel.shutdown().await.unwrap();
    let mut outside = String::new();
    inside.read_to_string(&mut outside).await.unwrap();
    assert_eq!(outside, "answer");
    inside.write_all(b"hello").await.unwrap();
    inside.shutdown().await.unwrap();
    outside.clear();
    tunnel.read_to_string(&mut outside).await.unwrap();
    assert_eq!(outside, "hello");

    let asking = tokio::spawn(ask_proxy(port, connect));
    room.agent.accept_egress().await.unwrap().refuse("not in the policy").await.unwrap();
    let (mut inside, heard) = asking.await.unwrap();
    assert!(heard.starts_with("HTTP/1.1 403 "), "{heard}");
    outside.clear();
    inside.read_to_string(&mut outside).await.unwrap();
    assert_eq!(outside, "not in the policy\n");

    let asking = tokio::spawn(ask_proxy(port, connect));
    room.agent.accept_egress().await.unwrap().fail("no such host").await.unwrap();
    assert!(asking.await.unwrap().1.starts_with("HTTP/1.1 502 "));

    let asking = tokio::spawn(ask_proxy(port, connect));
    drop(room.agent.accept_egress().await.unwrap());
    assert!(asking.await.unwrap().1.starts_with("HTTP/1.1 502 "));

    let plain = "GET http://example.com/a HTTP/1.1\r\nHost: example.com\r\n\r\n";
    let asking = tokio::spawn(ask_proxy(port, plain));
    let leaving = room.agent.accept_egress().await.unwrap();
    assert_eq!(leaving.target, "example.com:80");
    let mut tunnel = leaving.accept().await.unwrap();
    let mut first = vec![0; 18];
    tunnel.read_exact(&mut first).await.unwrap();
    assert_eq!(first, b"GET /a HTTP/1.1\r\nH");
    tunnel.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    assert_eq!(asking.await.unwrap().1, "HTTP/1.1 204 No Content\r\n\r\n");

    let (_, heard) = ask_proxy(port, "GET / HTTP/1.1\r\n\r\n").await;
    assert!(heard.starts_with("HTTP/1.1 400 "), "{heard}");
}

#[tokio::test]
async fn a_waiter_that_gave_up_does_not_swallow_the_next_connection() {
    let port = {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        free.local_addr().unwrap().port()
    };
    let room = room_with(&["--egress-proxy", "--egress-port", &port.to_string()]).await;
    {
        let mut waiting = Box::pin(room.agent.accept_egress());
        assert!(futures_util::poll!(&mut waiting).is_pending());
        // The agent has it now: health was asked for later.
        room.agent.health().await.unwrap();
    }
    room.agent.health().await.unwrap();
    let asking = tokio::spawn(ask_proxy(port, "CONNECT a:1 HTTP/1.1\r\n\r\n"));
    let leaving = room.agent.accept_egress().await.unwrap();
    assert_eq!(leaving.target, "a:1");
    let _tunnel = leaving.accept().await.unwrap();
    let heard = asking.await.unwrap().1;
    assert!(heard.starts_with("HTTP/1.1 200 "), "{heard}");
}

/// An agent that is the first process of a PID namespace of its own; `None` where that is not allowed.
async fn first_process() -> Option<(Agent, Child)> {
    let mut process = Process::new("unshare");
    process
        .args(["-Urpf", "--mount-proc", "--kill-child"])
        .arg(env!("MIOSA_AGENT_ELF"))
        .arg("serve");
    let (child, stream) = piped(process);
    Agent::connect(stream).await.ok().map(|agent| (agent, child))
}

#[tokio::test]
async fn as_first_process_it_reaps_freezes_and_ends_all() {
    let Some((agent, mut process)) = first_process().await else {
        eprintln!("no namespaces here: nothing was checked");
        return;
    };
    assert_eq!(agent.health().await.unwrap().pid, 1);
    // Orphans that end leave no zombie, and do not disturb the answers of commands.
    said(&agent, "for i in 1 2 3 4 5 6 7 8; do (sh -c 'sleep 0.01 & exit' &) ; done").await;
    until("no process is left", async || {
        let usage = agent.usage().await.unwrap();
        usage.processes == 0 && said(&agent, "ps -eo stat= | grep -c Z || true").await == "0\n"
    })
    .await;
    assert_eq!(said(&agent, "kill -9 1; kill -STOP 1; kill -HUP 1; echo alive").await, "alive\n");
    assert_eq!(said(&agent, &reach(1)).await, "nothing\n");
    let running = agent.exec(shell("exec sleep 1000")).await.unwrap();
    agent.freeze().await.unwrap();
    let state = FileOp::Stat { path: "/proc/1".into() };
    assert_eq!(code(agent.file_op::<Entry>(&state).await), FailureCode::ForbiddenPath);
    agent.thaw().await.unwrap();
    assert_eq!(said(&agent, &format!("cut -d' ' -f3 /proc/{}/stat", running.pid)).await, "S\n");
    agent.shutdown(Duration::from_secs(2)).await.unwrap();
    tokio::time::timeout(BOUND, process.wait()).await.unwrap().unwrap();
}
