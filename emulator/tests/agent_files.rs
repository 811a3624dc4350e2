//! Files through the agent, and the changes that it tells of.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "agent/room.rs"]
mod room;

use room::*;

async fn content(agent: &Agent, path: &str) -> Vec<u8> {
    let (_, mut stream) = agent.read(path).await.unwrap();
    let mut all = Vec::new();
    while let Some(piece) = stream.next().await {
        all.extend_from_slice(&piece.unwrap());
    }
    all
}

#[tokio::test]
async fn a_file_is_written_whole_and_reads_back() {
    use std::os::unix::fs::PermissionsExt as _;
    let room = room().await;
    let bytes: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
    let entry = room.agent.write("a/b/ü c", None, Bytes::from(bytes.clone())).await.unwrap();
    assert_eq!((entry.path.as_str(), entry.size), ("/workspace/a/b/ü c", 5_000_000));
    assert_eq!(entry.mode, 0o644);
    assert!(content(&room.agent, "/workspace/a/b/ü c").await == bytes);
    let file = room.path("a/b/ü c");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    let entry = room.agent.write("a/b/ü c", None, Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(entry.mode, 0o755);
    let entry = room.agent.write("a/b/ü c", Some(0o600), Bytes::new()).await.unwrap();
    assert_eq!((entry.mode, entry.size), (0o600, 0));
    assert_eq!(code(room.agent.write("a/b", None, Bytes::new()).await), FailureCode::IsDirectory);
    assert_eq!(code(room.agent.read("nothing").await.map(|_| ())), FailureCode::NotFound);
    std::os::unix::fs::symlink("../target", room.path("a/link")).unwrap();
    room.agent.write("a/link", None, Bytes::from_static(b"through")).await.unwrap();
    assert_eq!(std::fs::read(room.path("target")).unwrap(), b"through");
    assert!(room.path("a/link").is_symlink());
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_the_old_file_and_nothing_else() {
    let room = room().await;
    room.agent.write("f", None, Bytes::from_static(b"old")).await.unwrap();
    let pieces = futures_util::stream::iter([
        Ok(Bytes::from(vec![1; 100_000])),
        Err(std::io::Error::other("the client is gone")),
    ]);
    assert!(room.agent.write_from("f", None, pieces).await.is_err());
    until("only the old file is there", async || {
        std::fs::read_dir(room.dir.path()).unwrap().count() == 1
    })
    .await;
    assert_eq!(std::fs::read(room.path("f")).unwrap(), b"old");
}

#[tokio::test]
async fn the_kernels_directories_are_no_files_and_a_fifo_does_not_hang() {
    let room = room().await;
    said(&room.agent, "mkfifo fifo; ln -s /proc p; ln -s /dev/zero z").await;
    for path in ["/proc/1/environ", "/dev/zero", "/sys/kernel", "p/self/environ", "z", "fifo"] {
        let refused = room.agent.read(path).await.map(|_| ());
        assert_eq!(code(refused), FailureCode::ForbiddenPath, "{path}");
        let refused = room.agent.write(path, None, Bytes::new()).await;
        assert_eq!(code(refused), FailureCode::ForbiddenPath, "{path}");
    }
    for path in ["", "a\0b", &"n".repeat(300)] {
        let refused = room.agent.read(path).await.map(|_| ());
        assert_eq!(code(refused), FailureCode::InvalidPath);
    }
    let listing: Listing =
        room.agent.file_op(&FileOp::List { path: ".".into(), depth: 3 }).await.unwrap();
    let names: Vec<_> = listing.entries.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["fifo", "p", "z"]);
    let gone = FileOp::Stat { path: "nothing".into() };
    assert_eq!(code(room.agent.file_op::<Entry>(&gone).await), FailureCode::NotFound);
}

type Changes = std::pin::Pin<Box<dyn futures_util::Stream<Item = Result<Change, MachineError>>>>;

async fn watching(room: &Room, path: &str, recursive: bool) -> Changes {
    Box::pin(room.agent.watch(path, recursive).await.unwrap())
}

/// The changes up to one of this path, as `event path`, a rename as `renamed old new`.
async fn heard(changes: &mut Changes, last: &str) -> Vec<String> {
    let mut all = Vec::new();
    let hearing = async {
        while all.last().is_none_or(|told: &String| told != last) {
            let change = changes.next().await.unwrap().unwrap();
            let kind = serde_json::to_value(change.event).unwrap();
            let old = change.old_path.map(|old| format!("{old} ")).unwrap_or_default();
            let slash = if change.is_dir { "/" } else { "" };
            all.push(format!("{} {old}{}{slash}", kind.as_str().unwrap(), change.path));
        }
    };
    let in_time = tokio::time::timeout(BOUND, hearing).await.is_ok();
    assert!(in_time, "never: {last:?}, but {all:?}");
    all
}

#[tokio::test]
async fn a_watch_tells_what_happens_to_files() {
    let room = room().await;
    std::fs::write(room.path("old"), "a").unwrap();
    let mut changes = watching(&room, "/workspace", false).await;
    std::fs::File::create(room.path("new")).unwrap();
    assert_eq!(heard(&mut changes, "created /workspace/new").await.len(), 1);
    std::fs::write(room.path("old"), "b").unwrap();
    assert_eq!(heard(&mut changes, "modified /workspace/old").await.len(), 1);
    std::fs::rename(room.path("old"), room.path("moved")).unwrap();
    // The write before came as two pieces of news: the cut and the bytes.
    let renamed = heard(&mut changes, "renamed /workspace/old /workspace/moved").await;
    assert!(renamed.len() <= 2, "{renamed:?}");
    std::fs::remove_file(room.path("moved")).unwrap();
    assert_eq!(heard(&mut changes, "deleted /workspace/moved").await.len(), 1);
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::rename(room.path("new"), elsewhere.path().join("new")).unwrap();
    assert_eq!(heard(&mut changes, "deleted /workspace/new").await.len(), 1);
    // Not asked for what is deeper.
    std::fs::create_dir(room.path("deep")).unwrap();
    std::fs::write(room.path("deep/a"), "").unwrap();
    std::fs::remove_dir_all(room.path("deep")).unwrap();
    let told = heard(&mut changes, "deleted /workspace/deep/").await;
    assert_eq!(told, ["created /workspace/deep/", "deleted /workspace/deep/"]);
}

#[tokio::test]
async fn what_the_agent_writes_is_told_without_its_temporary_file() {
    let room = room().await;
    let mut changes = watching(&room, "/workspace", true).await;
    room.agent.write("a", None, Bytes::from_static(b"1")).await.unwrap();
    assert_eq!(heard(&mut changes, "created /workspace/a").await.len(), 1);
    room.agent.write("a", None, Bytes::from_static(b"2")).await.unwrap();
    assert_eq!(heard(&mut changes, "modified /workspace/a").await.len(), 1);
}

#[tokio::test]
async fn a_recursive_watch_follows_directories_as_they_come_and_move() {
    let room = room().await;
    std::fs::create_dir_all(room.path("was/there")).unwrap();
    let mut changes = watching(&room, "/workspace", true).await;
    std::fs::write(room.path("was/there/a"), "").unwrap();
    assert_eq!(heard(&mut changes, "created /workspace/was/there/a").await.len(), 1);
    // Made in one go: by the time that anybody looks, all of it is there.
    std::fs::create_dir_all(room.path("x/y/z")).unwrap();
    std::fs::write(room.path("x/y/z/b"), "").unwrap();
    let told = heard(&mut changes, "created /workspace/x/y/z/b").await;
    assert_eq!(told.iter().filter(|told| told.starts_with("created")).count(), 4, "{told:?}");
    std::fs::rename(room.path("x"), room.path("w")).unwrap();
    heard(&mut changes, "renamed /workspace/x /workspace/w/").await;
    std::fs::remove_file(room.path("w/y/z/b")).unwrap();
    assert_eq!(heard(&mut changes, "deleted /workspace/w/y/z/b").await.len(), 1);
    // What has left is followed no more; the next change is the next one here.
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::rename(room.path("w"), elsewhere.path().join("w")).unwrap();
    heard(&mut changes, "deleted /workspace/w/").await;
    std::fs::write(elsewhere.path().join("w/y/z/c"), "").unwrap();
    std::fs::File::create(room.path("end")).unwrap();
    assert_eq!(heard(&mut changes, "created /workspace/end").await.len(), 1);
}

#[tokio::test]
async fn a_watched_file_stays_watched_when_another_takes_its_place() {
    let room = room().await;
    std::fs::write(room.path("a"), "1").unwrap();
    let mut changes = watching(&room, "a", true).await;
    std::fs::write(room.path("b"), "not told").unwrap();
    for text in ["2", "3"] {
        room.agent.write("a", None, Bytes::from(text)).await.unwrap();
        assert_eq!(heard(&mut changes, "modified /workspace/a").await.len(), 1);
    }
    std::fs::remove_file(room.path("a")).unwrap();
    assert_eq!(heard(&mut changes, "deleted /workspace/a").await.len(), 1);
}

#[tokio::test]
async fn a_watch_ends_with_its_directory_and_cannot_begin_without() {
    let room = room().await;
    let missing = room.agent.watch("no", true).await.map(drop);
    assert_eq!(code(missing), FailureCode::NotFound);
    let kernels = room.agent.watch("/proc", true).await.map(drop);
    assert_eq!(code(kernels), FailureCode::ForbiddenPath);
    std::fs::create_dir(room.path("d")).unwrap();
    let mut changes = watching(&room, "d", true).await;
    std::fs::remove_dir(room.path("d")).unwrap();
    heard(&mut changes, "deleted /workspace/d/").await;
    assert!(tokio::time::timeout(BOUND, changes.next()).await.unwrap().is_none());
}

fn signal_agent(room: &Room, signal: Signal) {
    let pid = room.process.id().unwrap();
    kill(Pid::from_raw(pid.try_into().unwrap()), signal).unwrap();
}

#[tokio::test]
async fn a_watch_that_missed_changes_says_so() {
    let room = room().await;
    let queue = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let queue: usize = queue.trim().parse().unwrap();
    if queue > 100_000 {
        return; // It would take too long to fill.
    }
    let mut changes = watching(&room, "/workspace", true).await;
    signal_agent(&room, Signal::SIGSTOP);
    let (a, b) = (room.path("a"), room.path("b"));
    std::fs::File::create(&a).unwrap();
    for _ in 0..=queue / 4 {
        std::fs::rename(&a, &b).unwrap();
        std::fs::rename(&b, &a).unwrap();
    }
    signal_agent(&room, Signal::SIGCONT);
    let told = heard(&mut changes, "overflow /workspace/").await;
    assert!(told.len() > queue / 4, "{}", told.len());
    std::fs::create_dir(room.path("later")).unwrap();
    heard(&mut changes, "created /workspace/later/").await;
}

#[tokio::test]
async fn a_watcher_that_goes_away_leaves_no_watch() {
    let room = room().await;
    let fds = format!("/proc/{}/fd", room.process.id().unwrap());
    if std::fs::read_dir(&fds).is_err() {
        return; // The agent hides from an ordinary user.
    }
    let watches = || {
        let fds = std::fs::read_dir(&fds).unwrap();
        let to = fds.filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok());
        to.filter(|to| to.to_string_lossy().contains("inotify")).count()
    };
    let changes = watching(&room, "/workspace", true).await;
    assert!(watches() > 0);
    drop(changes);
    until("no watch is left", async || watches() == 0).await;
}
