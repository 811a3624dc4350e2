//! The lowest layers: a bare root of our own, and what `/usr` needs besides the host's.
//!
//! Programs and libraries are the host's, seen read-only. `/etc` is not: only what programs need to find
//! libraries, certificates and names is copied, and only if every user of the host may read it anyway.

use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use super::layers::Layout;
use super::usermap::UserMap;

/// Changes whenever the layout below does: a machine keeps standing on the skeleton that it was made on.
pub const VERSION: &str = "1";

/// Files and directories of the host's `/etc` that programs look up.
const COPIED: [&str; 38] = [
    "adduser.conf",
    "alternatives",
    "bash.bashrc",
    "ca-certificates",
    "ca-certificates.conf",
    "debian_version",
    "default/useradd",
    "ethertypes",
    "fonts",
    "host.conf",
    "inputrc",
    "java-17-openjdk",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "localtime",
    "login.defs",
    "magic",
    "magic.mime",
    "mime.types",
    "networks",
    "pam.conf",
    "pam.d",
    "perl",
    "pki",
    "profile",
    "protocols",
    "python3",
    "rpc",
    "security",
    "services",
    "skel",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
    "xattr.conf",
];
/// Directories of `/usr` are copied, empty, down to here: their files belong to nobody inside, and a directory
/// that belongs to nobody takes no new file.
const DEPTH: usize = 3;
/// Where package managers of languages install, deeper.
const DEEP: [&str; 3] = ["/usr/local", "/usr/lib/python3", "/usr/lib/node_modules"];
const DEEP_DEPTH: usize = 12;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
bin:x:2:2:bin:/bin:/usr/sbin/nologin
sys:x:3:3:sys:/dev:/usr/sbin/nologin
man:x:6:12:man:/var/cache/man:/usr/sbin/nologin
mail:x:8:8:mail:/var/mail:/usr/sbin/nologin
www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin
_apt:x:42:65534::/nonexistent:/usr/sbin/nologin
sandbox:x:1000:1000::/home/sandbox:/bin/bash
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
";
const GROUP: &str = "root:x:0:
daemon:x:1:
bin:x:2:
sys:x:3:
adm:x:4:
tty:x:5:
disk:x:6:
mail:x:8:
man:x:12:
www-data:x:33:
shadow:x:42:
utmp:x:43:
staff:x:50:
users:x:100:
sandbox:x:1000:
nogroup:x:65534:
";

/// Makes or refreshes the skeleton; its path relative to [`Layout::layers`]. No machine may be running.
pub fn prepare(layout: &Layout, ids: UserMap) -> io::Result<String> {
    let base = layout.path("skeleton").join(VERSION);
    let maker = Maker { ids };
    maker.directory(&base, 0o755)?;
    maker.root(&base.join("root"))?;
    maker.usr(&base.join("usr"))?;
    Ok(format!("../skeleton/{VERSION}"))
}

struct Maker {
    ids: UserMap,
}

impl Maker {
    fn root(&self, root: &Path) -> io::Result<()> {
        self.directory(root, 0o755)?;
        let plain = [
            "usr",
            "etc",
            "etc/ssl",
            "etc/default",
            "proc",
            "sys",
            "dev",
            "run",
            "mnt",
            "media",
            "opt",
            "srv",
            "home",
            "home/sandbox",
            "workspace",
            "var",
            "var/cache",
            "var/lib",
            "var/log",
            "var/spool",
        ];
        for name in plain {
            self.directory(&root.join(name), 0o755)?;
        }
        self.directory(&root.join("root"), 0o700)?;
        self.directory(&root.join("tmp"), 0o1777)?;
        self.directory(&root.join("var/tmp"), 0o1777)?;
        self.link("/run", &root.join("var/run"))?;
        self.link("/run/lock", &root.join("var/lock"))?;
        self.link("/proc/self/mounts", &root.join("etc/mtab"))?;
        self.link("../usr/lib/os-release", &root.join("etc/os-release"))?;
        for name in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
            self.top_level(name, root)?;
        }
        let files = [
            ("passwd", PASSWD),
            ("group", GROUP),
            ("hostname", "sandbox\n"),
            ("hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"),
            ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
            (
                "resolv.conf",
                "# Names are resolved by the proxy in http_proxy; there is no other way out.\n",
            ),
            ("shells", "/bin/sh\n/bin/bash\n"),
            ("environment", ""),
            ("machine-id", ""),
        ];
        for (name, text) in files {
            self.file(&root.join("etc").join(name), text.as_bytes(), 0o644)?;
        }
        // Ours, not the host's: nobody has a password, and programs that look for the file find it.
        let locked = PASSWD.lines().filter_map(|line| line.split(':').next());
        let shadow: Vec<_> = locked.map(|name| format!("{name}:*:19000:0:99999:7:::\n")).collect();
        self.file(&root.join("etc/shadow"), shadow.concat().as_bytes(), 0o640)?;
        for name in COPIED {
            let from = Path::new("/etc").join(name);
            // Optional on every distribution.
            if from.symlink_metadata().is_ok() {
                self.copy(&from, &root.join("etc").join(name))?;
            }
        }
        Ok(())
    }

    /// `/bin` and its like: links into `/usr`, as on the host. Where the host has not merged them, a link to the
    /// same name below `/usr` is the closest.
    fn top_level(&self, name: &str, root: &Path) -> io::Result<()> {
        let host = Path::new("/").join(name);
        match fs::read_link(&host) {
            Ok(target) => self.link(&target.to_string_lossy(), &root.join(name)),
            Err(_) if host.is_dir() => self.link(&format!("usr/{name}"), &root.join(name)),
            Err(_) => Ok(()),
        }
    }

    fn usr(&self, usr: &Path) -> io::Result<()> {
        self.directory(usr, 0o755)?;
        self.directory(&usr.join("bin"), 0o755)?;
        let python = ["/usr/bin/python", "/usr/local/bin/python"];
        if !python.iter().any(|path| Path::new(path).exists())
            && Path::new("/usr/bin/python3").exists()
        {
            self.link("python3", &usr.join("bin/python"))?;
        }
        self.mirror(Path::new("/usr"), usr, 1)
    }

    /// Copies directories without what is in them, so that they belong to root inside.
    fn mirror(&self, from: &Path, to: &Path, level: usize) -> io::Result<()> {
        let deepest = if DEEP
            .iter()
            .any(|deep| from.as_os_str().as_encoded_bytes().starts_with(deep.as_bytes()))
        {
            DEEP_DEPTH
        } else {
            DEPTH
        };
        let Ok(entries) = fs::read_dir(from) else { return Ok(()) };
        if level > deepest {
            return Ok(());
        }
        for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
            let (from, to) = (entry.path(), to.join(entry.file_name()));
            let Ok(mode) = entry.metadata().map(|m| m.permissions().mode() & 0o7777) else {
                continue;
            };
            // What others may not enter on the host stays as it is.
            if mode & 0o005 == 0o005 {
                self.directory(&to, mode)?;
                self.mirror(&from, &to, level + 1)?;
            }
        }
        Ok(())
    }

    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        let meta = fs::symlink_metadata(from)?;
        let mode = meta.mode() & 0o7777;
        if meta.is_symlink() {
            return self.link(&fs::read_link(from)?.to_string_lossy(), to);
        }
        if meta.is_dir() && mode & 0o005 == 0o005 {
            self.directory(to, mode)?;
            for entry in fs::read_dir(from)? {
                let entry = entry?;
                self.copy(&entry.path(), &to.join(entry.file_name()))?;
            }
        } else if meta.is_file() && mode & 0o004 != 0 {
            self.file(to, &fs::read(from)?, mode)?;
        }
        Ok(())
    }

    fn directory(&self, path: &Path, mode: u32) -> io::Result<()> {
        match DirBuilder::new().mode(mode).create(path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            other => other?,
        }
        // What the umask has taken.
        if fs::symlink_metadata(path)?.mode() & 0o7777 != mode {
            fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        }
        self.give(path)
    }

    fn link(&self, target: &str, path: &Path) -> io::Result<()> {
        if fs::read_link(path).is_ok_and(|now| now == Path::new(target)) {
            return Ok(());
        }
        let _ = fs::remove_file(path);
        symlink(target, path)?;
        self.give(path)
    }

    fn file(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
        if fs::read(path).is_ok_and(|now| now == bytes) {
            return Ok(());
        }
        let new: PathBuf = path.with_extension("new");
        let mut file = fs::File::create(&new)?;
        file.write_all(bytes)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        self.give(&new)?;
        fs::rename(&new, path)
    }

    fn give(&self, path: &Path) -> io::Result<()> {
        if !self.ids.is_range() {
            return Ok(());
        }
        let (uid, gid) = self.ids.root();
        lchown(path, Some(uid), Some(gid))
    }
}
