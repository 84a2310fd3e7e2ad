//! A disk of our own: ext4 on a loop device over an image file, to be cut off, filled and broken.

use std::{
    fs::{self, File},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    process::Command,
};

/// `EXT4_IOC_SHUTDOWN`, `_IOR('X', 125, __u32)`.
const SHUTDOWN: libc::Ioctl = 0x8004_587D_u32 as libc::Ioctl;
/// Shuts down without writing the log: what is only in memory never reaches the disk.
const NO_LOG_FLUSH: u32 = 2;
/// Unmounting is tried so often: a killed process may hold the disk for a moment.
const TRIES: u32 = 100;

/// Runs a program.
///
/// # Errors
/// What it said.
pub fn tool(program: &str, arguments: &[&str]) -> Result<(), String> {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output = Command::new(program).env("PATH", path).args(arguments).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "{program} {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => Err(format!("{program}: {error}")),
    }
}

/// A mounted image.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    mount: PathBuf,
    options: &'static str,
    mounted: bool,
}

impl Disk {
    /// Makes and mounts one of so many megabytes below `folder`.
    ///
    /// # Errors
    /// What is missing on this machine.
    pub fn new(folder: &Path, megabytes: u64) -> Result<Self, String> {
        let image = folder.join("disk.img");
        Self::make(&image, megabytes)?;
        Self::mount_image(image, folder.join("disk"), "loop")
    }

    fn make(image: &Path, megabytes: u64) -> Result<(), String> {
        let file = File::create(image).and_then(|f| f.set_len(megabytes << 20));
        file.map_err(|e| format!("{}: {e}", image.display()))?;
        let whole = "lazy_itable_init=0,lazy_journal_init=0,nodiscard";
        tool("mkfs.ext4", &["-q", "-F", "-E", whole, &image.to_string_lossy()])
    }

    fn mount_image(image: PathBuf, mount: PathBuf, options: &'static str) -> Result<Self, String> {
        fs::create_dir_all(&mount).map_err(|e| e.to_string())?;
        let mut disk = Self { image, mount, options, mounted: false };
        disk.mount()?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// Mounts it; the kernel replays its journal.
    ///
    /// # Errors
    /// What the system said.
    pub fn mount(&mut self) -> Result<(), String> {
        let (image, mount) = (self.image.to_string_lossy(), self.mount.to_string_lossy());
        tool("mount", &["-o", self.options, &image, &mount])?;
        self.mounted = true;
        Ok(())
    }

    /// Unmounts it; its loop device goes with it.
    ///
    /// # Errors
    /// What the system said.
    pub fn unmount(&mut self) -> Result<(), String> {
        let mut result = Ok(());
        for _ in 0..TRIES {
            result = tool("umount", &[&self.mount.to_string_lossy()]);
            if result.is_ok() {
                self.mounted = false;
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        result
    }

    /// Unmounts it and mounts it again.
    ///
    /// # Errors
    /// What the system said.
    pub fn remount(&mut self) -> Result<(), String> {
        self.unmount()?;
        self.mount()
    }

    /// The power cut: from now on nothing of this mount reaches the disk.
    ///
    /// # Errors
    /// What the system said.
    #[allow(unsafe_code, reason = "this ioctl has no safe form; the flag outlives the call")]
    pub fn cut(&self) -> Result<(), String> {
        let folder = File::open(&self.mount).map_err(|e| e.to_string())?;
        let done = unsafe { libc::ioctl(folder.as_raw_fd(), SHUTDOWN, &NO_LOG_FLUSH) };
        if done == 0 {
            Ok(())
        } else {
            Err(format!("shutdown: {}", std::io::Error::last_os_error()))
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            let _ = self.unmount();
        }
    }
}

/// A disk in memory, for what is about volume and not about the disk.
#[derive(Debug)]
pub struct MemoryDisk(PathBuf);

impl MemoryDisk {
    /// Mounts one.
    ///
    /// # Errors
    /// What the system said.
    pub fn new(path: &Path) -> Result<Self, String> {
        fs::create_dir_all(path).map_err(|e| e.to_string())?;
        tool("mount", &["-t", "tmpfs", "none", &path.to_string_lossy()])?;
        Ok(Self(path.into()))
    }
}

impl Drop for MemoryDisk {
    fn drop(&mut self) {
        let _ = tool("umount", &[&self.0.to_string_lossy()]);
    }
}

/// A disk whose blocks are given out as they are first written, from a pool that can be made small:
/// then writes to new places fail as on a broken disk, while the journal still works.
#[derive(Debug)]
pub struct ThinDisk {
    disk: Option<Disk>,
    pool: PathBuf,
}

/// By how much more a pool is left where making it small is refused.
const STEP_KB: u64 = 64;
/// Megabytes that a pool may grow to.
const POOL_MB: u64 = 200;
/// Megabytes of the disk in it.
const THIN_MB: u64 = 128;

impl ThinDisk {
    /// Makes and mounts one below `folder`, with all the space it needs.
    ///
    /// # Errors
    /// What is missing on this machine.
    pub fn new(folder: &Path) -> Result<Self, String> {
        let pool = folder.join("pool");
        fs::create_dir_all(&pool).map_err(|e| e.to_string())?;
        let size = format!("size={POOL_MB}m");
        tool("mount", &["-t", "tmpfs", "-o", &size, "none", &pool.to_string_lossy()])?;
        let mut thin = Self { disk: None, pool };
        let image = thin.pool.join("disk.img");
        Disk::make(&image, THIN_MB)?;
        // The journal and the tables get their blocks now, the rest gives its blocks back.
        tool("fallocate", &["-l", &format!("{THIN_MB}M"), &image.to_string_lossy()])?;
        let disk = Disk::mount_image(image, folder.join("disk"), "loop,errors=remount-ro")?;
        tool("fstrim", &[&disk.path().to_string_lossy()])?;
        thin.disk = Some(disk);
        Ok(thin)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.disk.as_ref().map_or(&self.pool, Disk::path)
    }

    /// Lets so many more kilobytes be written to new places; then writing fails.
    ///
    /// # Errors
    /// What the system said.
    pub fn starve(&self, kilobytes: u64) -> Result<(), String> {
        use std::os::unix::fs::MetadataExt;
        let mut result = Ok(());
        for more in 0..u64::from(TRIES) {
            let image = fs::metadata(self.pool.join("disk.img")).map_err(|e| e.to_string())?;
            // It is refused where more was written since it was looked at.
            let used = image.blocks() / 2 + more * STEP_KB;
            result = self.resize(&format!("size={}k", used + kilobytes));
            if result.is_ok() {
                break;
            }
        }
        result
    }

    /// Mends it.
    ///
    /// # Errors
    /// What the system said.
    pub fn mend(&self) -> Result<(), String> {
        self.resize(&format!("size={POOL_MB}m"))
    }

    /// Unmounts the disk and mounts it again.
    ///
    /// # Errors
    /// What the system said.
    pub fn remount(&mut self) -> Result<(), String> {
        self.disk.as_mut().ok_or("it is gone")?.remount()
    }

    fn resize(&self, size: &str) -> Result<(), String> {
        tool("mount", &["-o", &format!("remount,{size}"), &self.pool.to_string_lossy()])
    }
}

impl Drop for ThinDisk {
    fn drop(&mut self) {
        let _ = self.mend();
        self.disk = None;
        let _ = tool("umount", &[&self.pool.to_string_lossy()]);
    }
}
