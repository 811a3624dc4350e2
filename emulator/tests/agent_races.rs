//! Somebody in the machine swaps a directory for a link, again and again, while the agent works in it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "agent/room.rs"]
mod room;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use miosa_agent::codec;
use miosa_agent::packed::{About, Packed, PackedKind};
use miosa_agent::protocol::frame;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use room::*;

/// Exchanges two names as fast as it can, for as long as it lives.
struct Swapper {
    stop: Arc<AtomicBool>,
    swaps: Arc<AtomicUsize>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Swapper {
    fn of(one: PathBuf, other: PathBuf) -> Self {
        let (stop, swaps) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, counted) = (stop.clone(), swaps.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let exchange = RenameFlags::RENAME_EXCHANGE;
                renameat2(AT_FDCWD, &one, AT_FDCWD, &other, exchange).unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { stop, swaps, thread: Some(thread) }
    }

    fn swaps(&self) -> usize {
        self.swaps.load(Ordering::Relaxed)
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let swapped = self.thread.take().unwrap().join();
        assert!(swapped.is_ok() || std::thread::panicking());
    }
}

/// What a directory holds, all levels.
fn held(directory: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        all.push(entry.path());
        if entry.file_type().unwrap().is_dir() {
            all.extend(held(&entry.path()));
        }
    }
    all
}

/// How often each is tried; both outcomes must have come by then.
const TRIES: usize = 200;

#[tokio::test]
async fn nothing_unpacked_leaves_its_directory_whoever_swaps_directories_for_links() {
    let room = room().await;
    let outside = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(room.path("into/d")).unwrap();
    std::os::unix::fs::symlink(outside.path(), room.path("into/link")).unwrap();
    let swapper = Swapper::of(room.path("into/d"), room.path("into/link"));
    let entry = |kind, name: &str, content: &[u8]| {
        let size = content.len() as u64;
        let about = About { kind, mode: 0o644, size, modified_at_ms: 0 };
        Packed { about, name: name.into(), target: b"x".to_vec() }.encode()
    };
    let frames = [
        entry(PackedKind::File, "d/file", b"x"),
        codec::encode(frame::DATA, b"x"),
        entry(PackedKind::File, "d/deep/er/file", b""),
        entry(PackedKind::Dir, "d/directory", b""),
        entry(PackedKind::Symlink, "d/symlink", b""),
        codec::encode(frame::END, &[]),
    ];
    let (mut done, mut refused) = (0, 0);
    for _ in 0..TRIES {
        let stream = futures_util::stream::iter(frames.clone().map(Ok::<_, std::io::Error>));
        match room.agent.unpack("into", stream).await {
            Ok(_) => done += 1,
            Err(MachineError::Agent(failure)) => {
                let expected = [FailureCode::ForbiddenPath, FailureCode::NotDirectory];
                assert!(expected.contains(&failure.code), "{failure:?}");
                refused += 1;
            }
            Err(other) => panic!("{other:?}"),
        }
        assert_eq!(held(outside.path()), Vec::<PathBuf>::new());
    }
    assert!(swapper.swaps() > TRIES && done + refused == TRIES, "{done} {refused}");
    assert!(refused > 0, "no link was ever met");
}

#[tokio::test]
async fn nothing_is_written_or_read_below_the_kernels_directories_whoever_swaps_links() {
    let room = room().await;
    let Ok(shared) = tempfile::tempdir_in("/dev/shm") else { return };
    let secret = shared.path().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    std::fs::create_dir(room.path("d")).unwrap();
    std::fs::write(room.path("d/secret"), "mine").unwrap();
    std::os::unix::fs::symlink(shared.path(), room.path("link")).unwrap();
    let swapper = Swapper::of(room.path("d"), room.path("link"));
    let mut refused = 0;
    for n in 0..TRIES {
        match room.agent.write(&format!("d/{}", n % 7), None, Bytes::from_static(b"x")).await {
            Ok(_) => {}
            Err(MachineError::Agent(failure)) => {
                assert_eq!(failure.code, FailureCode::ForbiddenPath, "{failure:?}");
                refused += 1;
            }
            Err(other) => panic!("{other:?}"),
        }
        if let Ok((_, mut stream)) = room.agent.read("d/secret").await {
            assert_eq!(stream.next().await.unwrap().unwrap(), "mine");
        }
        for op in [
            FileOp::Remove { path: "d/secret".into(), recursive: true },
            FileOp::Copy { from: "d".into(), to: "copy".into(), recursive: true },
            FileOp::Mkdir { path: "d/made/deep".into(), recursive: true, mode: None },
        ] {
            let _: Result<serde_json::Value, _> = room.agent.file_op(&op).await;
        }
        assert_eq!(held(shared.path()), [secret.as_path()]);
    }
    assert!(swapper.swaps() > TRIES && refused > 0, "{} {refused}", swapper.swaps());
    assert!(!held(room.dir.path()).iter().any(|path| {
        path.is_file() && std::fs::read(path).is_ok_and(|content| content == b"secret")
    }));
}

#[tokio::test]
async fn a_walk_does_not_leave_the_directory_that_it_began_in() {
    let room = room().await;
    let Ok(shared) = tempfile::tempdir_in("/dev/shm") else { return };
    std::fs::write(shared.path().join("secret"), "secret").unwrap();
    std::fs::create_dir_all(room.path("t/d")).unwrap();
    std::os::unix::fs::symlink(shared.path(), room.path("t/link")).unwrap();
    let _swapper = Swapper::of(room.path("t/d"), room.path("t/link"));
    for _ in 0..TRIES {
        let listing: Listing =
            room.agent.file_op(&FileOp::List { path: "t".into(), depth: 3 }).await.unwrap();
        assert!(listing.entries.iter().all(|entry| entry.name != "secret"), "{listing:?}");
        let mut packed = room.agent.pack("t").await.unwrap();
        while let Ok(Some(piece)) = packed.next().await {
            if let miosa_emulator::machines::agent::Piece::Entry(entry) = piece {
                assert!(!entry.name.ends_with(b"secret"), "{entry:?}");
            }
        }
    }
}

#[tokio::test]
async fn packed_files_come_back_as_they_were_names_that_are_no_text_included() {
    use std::os::unix::ffi::OsStrExt as _;
    let room = room().await;
    let odd = std::ffi::OsStr::from_bytes(b"odd-\xff\xfe");
    std::fs::create_dir_all(room.path("from/d")).unwrap();
    std::fs::write(room.dir.path().join("from/d").join(odd), vec![7; 200_000]).unwrap();
    std::os::unix::fs::symlink("d", room.path("from/l")).unwrap();
    let mut packed = room.agent.pack("from").await.unwrap();
    let mut frames = Vec::new();
    while let Some(piece) = packed.next().await.unwrap() {
        frames.push(match piece {
            miosa_emulator::machines::agent::Piece::Entry(entry) => entry.encode(),
            miosa_emulator::machines::agent::Piece::Bytes(bytes) => {
                codec::encode(frame::DATA, &bytes)
            }
        });
    }
    let cut = frames.clone();
    frames.push(codec::encode(frame::END, &[]));
    let stream = |frames: Vec<Bytes>| {
        futures_util::stream::iter(frames.into_iter().map(Ok::<_, std::io::Error>))
    };
    let unpacked = room.agent.unpack("to", stream(frames)).await.unwrap();
    assert_eq!((unpacked.files, unpacked.directories, unpacked.links), (1, 1, 1));
    assert_eq!(std::fs::read(room.dir.path().join("to/d").join(odd)).unwrap(), vec![7; 200_000]);
    assert_eq!(std::fs::read_link(room.path("to/l")).unwrap(), Path::new("d"));
    let refused = room.agent.unpack("cut", stream(cut)).await;
    assert_eq!(code(refused), FailureCode::InvalidRequest);
}
