//! Commands through the agent: streams, input, time limits, terminals, and what ends them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "agent/room.rs"]
mod room;

use room::*;

#[tokio::test]
async fn a_command_answers_with_its_streams_and_its_code() {
    let room = room().await;
    let finished =
        room.agent.run(shell("echo out; echo err >&2; exit 7"), None, 1 << 20).await.unwrap();
    assert_eq!((&finished.stdout[..], &finished.stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
    assert_eq!((finished.exit.exit_code, finished.exit.signal), (7, None));
    let unknown = room.agent.run(shell("no-such-program-here"), None, 1 << 20).await.unwrap();
    assert_eq!(unknown.exit.exit_code, 127);
    let killed = room.agent.run(shell("kill -9 $$"), None, 1 << 20).await.unwrap();
    assert_eq!((killed.exit.exit_code, killed.exit.signal), (137, Some(9)));
    let real_time = room.agent.run(shell("kill -40 $$"), None, 1 << 20).await.unwrap();
    assert_eq!((real_time.exit.exit_code, real_time.exit.signal), (168, Some(40)));
    let argv = Command::Argv(vec!["printf".into(), "%s|".into(), "a b".into(), "$HOME".into()]);
    let plain = room.agent.run(exec(argv), None, 1 << 20).await.unwrap();
    assert_eq!(&plain.stdout[..], b"a b|$HOME|");
    let absent = exec(Command::Argv(vec!["/no/such/program".into()]));
    assert_eq!(code(room.agent.run(absent, None, 10).await), FailureCode::NotFound);
}

#[tokio::test]
async fn a_socket_for_both_directions_works_like_two_pipes() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let mut process = program(dir.path(), "serve", &[]);
    let theirs = std::os::fd::OwnedFd::from(theirs);
    process.stdin(theirs.try_clone().unwrap()).stdout(theirs);
    let _child = process.spawn().unwrap();
    drop(process);
    let agent = Agent::connect(Box::new(UnixStream::from_std(ours).unwrap())).await.unwrap();
    assert_eq!(said(&agent, "echo hello").await, "hello\n");
}

#[tokio::test]
async fn output_is_binary_whole_and_bounded_where_asked() {
    let room = room().await;
    let line = r"printf '\000\377\376ab\n'";
    let bytes = room.agent.run(shell(line), None, 1 << 20).await.unwrap();
    assert_eq!(&bytes.stdout[..], b"\x00\xff\xfeab\n");
    let large = room.agent.run(shell("head -c 10000000 /dev/zero"), None, 1 << 30).await.unwrap();
    assert_eq!((large.stdout.len(), large.stdout_truncated), (10_000_000, false));
    let cut = room.agent.run(shell("head -c 10000000 /dev/zero"), None, 1000).await.unwrap();
    assert_eq!((cut.stdout.len(), cut.stdout_truncated), (1000, true));
    assert_eq!(cut.exit.exit_code, 0);
}

#[tokio::test]
async fn standard_input_arrives_whole_and_ends() {
    let room = room().await;
    let bytes = Bytes::from(vec![7_u8; 3_000_000]);
    let finished = room.agent.run(shell("wc -c"), Some(bytes.clone()), 1 << 20).await.unwrap();
    assert_eq!(&finished.stdout[..], b"3000000\n");
    let echoed = room.agent.run(shell("cat"), Some(bytes.clone()), 1 << 30).await.unwrap();
    assert!(echoed.stdout == bytes);
    let deaf = room.agent.run(shell("exit 3"), Some(bytes), 1 << 20).await.unwrap();
    assert_eq!(deaf.exit.exit_code, 3);
    assert_eq!(said(&room.agent, "cat | wc -c").await, "0\n");
}

#[tokio::test]
async fn environment_and_directory_reach_the_command_and_the_secret_does_not() {
    let room = room_with(&[]).await;
    std::fs::create_dir(room.path("sub")).unwrap();
    let mut exec = shell("pwd; echo $GREETING; env | grep -c MIOSA_AGENT; echo ${PATH:+path}");
    exec.env.insert("GREETING".into(), "grüß".into());
    exec.cwd = Some("/workspace/sub".into());
    let finished = room.agent.run(exec, None, 1 << 20).await.unwrap();
    let expected = format!("{}\ngrüß\n0\npath\n", room.path("sub").display());
    assert_eq!(String::from_utf8_lossy(&finished.stdout), expected);
    let mut lost = shell("true");
    lost.cwd = Some("nowhere".into());
    assert_eq!(code(room.agent.run(lost, None, 10).await), FailureCode::NotFound);
}

#[tokio::test]
async fn a_timeout_kills_grandchildren_too() {
    let room = room().await;
    let mut exec = shell("sleep 1000 & echo $!; (sleep 1000; true) & wait");
    exec.timeout_ms = Some(300);
    let finished = room.agent.run(exec, None, 1 << 20).await.unwrap();
    let exit = &finished.exit;
    assert_eq!((exit.exit_code, exit.signal, exit.timed_out), (137, Some(9), true));
    assert!((300..3000).contains(&exit.duration_ms), "{exit:?}");
    let pid = String::from_utf8_lossy(&finished.stdout).into_owned();
    until("the grandchild is gone", async || !alive(&pid)).await;
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_command_unless_it_is_detached() {
    let room = room().await;
    let mut kept = shell("echo $$; exec sleep 1000");
    kept.detached = true;
    let mut detached = room.agent.exec(kept).await.unwrap();
    let mut plain = room.agent.exec(shell("echo $$; exec sleep 1000")).await.unwrap();
    let survivor = read_until(&mut detached, "\n").await;
    let victim = read_until(&mut plain, "\n").await;
    let _input_still_held = plain.input();
    drop(detached);
    drop(plain);
    until("the command is gone", async || !alive(&victim)).await;
    assert!(alive(&survivor));
    room.agent.signal(survivor.trim().parse().unwrap(), 9).await.unwrap();
    until("the signal works", async || !alive(&survivor)).await;
    assert_eq!(code(room.agent.signal(1, 9).await), FailureCode::NotFound);
}

#[tokio::test]
async fn a_background_process_does_not_hold_the_answer() {
    let room = room().await;
    let began = Instant::now();
    let quiet = said(&room.agent, "sleep 1000 > /dev/null 2>&1 & echo $!").await;
    let holding = said(&room.agent, "sleep 1000 & echo $!").await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    let noisy = room.agent.run(shell("yes & echo started"), None, 1000).await.unwrap();
    assert_eq!(noisy.exit.exit_code, 0);
    assert!(alive(&quiet) && alive(&holding));
}

#[tokio::test]
async fn a_slow_reader_holds_up_its_command_and_nobody_else() {
    let room = room().await;
    let mut slow = room.agent.exec(shell("yes")).await.unwrap();
    assert!(matches!(slow.next().await, Some(Ok(Output::Stdout(_)))));
    for _ in 0..20 {
        assert_eq!(said(&room.agent, "echo quick").await, "quick\n");
    }
    let rss = std::fs::read_to_string(format!("/proc/{}/status", room.process.id().unwrap()));
    let rss = rss.unwrap();
    let line = rss.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    let kb: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kb < 32 * 1024, "the agent holds {kb} kB");
}

#[tokio::test]
async fn a_terminal_has_a_size_keys_and_signals() {
    let room = room().await;
    let mut exec =
        shell("tty > /dev/null && echo is-a-tty; stty size; read x; stty size; cat; echo end");
    exec.tty = Some(TerminalSize { rows: 30, cols: 100 });
    exec.stdin = true;
    let mut running = room.agent.exec(exec).await.unwrap();
    let first = read_until(&mut running, "30 100").await;
    assert!(first.contains("is-a-tty"));
    let input = running.input();
    input.resize(TerminalSize { rows: 40, cols: 120 }).await.unwrap();
    input.write(Bytes::from_static(b"go\n")).await.unwrap();
    read_until(&mut running, "40 120").await;
    input.end().await.unwrap();
    read_until(&mut running, "end").await;
    let mut interrupted = shell("echo ready; sleep 1000");
    interrupted.tty = Some(TerminalSize { rows: 30, cols: 100 });
    let mut running = room.agent.exec(interrupted).await.unwrap();
    read_until(&mut running, "ready").await;
    running.input().write(Bytes::from_static(b"\x03")).await.unwrap();
    let exit = loop {
        match running.next().await.unwrap().unwrap() {
            Output::Exit(exit) => break exit,
            Output::Stdout(_) | Output::Stderr(_) => {}
        }
    };
    assert_eq!(exit.exit_code, 130);
}

#[tokio::test]
async fn commands_in_parallel_do_not_mix() {
    let room = room().await;
    let many = (0..50).map(|number| {
        let agent = room.agent.clone();
        async move { (number, said(&agent, &format!("sleep 0.05; echo {number}")).await) }
    });
    for (number, text) in futures_util::future::join_all(many).await {
        assert_eq!(text, format!("{number}\n"));
    }
}
