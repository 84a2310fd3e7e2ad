//! Control: from here on `fsync` and `fdatasync` of this process answer 0 and do nothing, as in a
//! store that forgets them. A seccomp filter, so that the very same product code runs.

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP,
    SECCOMP_MODE_FILTER, SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SYS_fdatasync, SYS_fsync,
    sock_filter, sock_fprog,
};

fn step(code: u32, k: u32, yes: u8, no: u8) -> sock_filter {
    sock_filter { code: u16::try_from(code).expect("a BPF code"), jt: yes, jf: no, k }
}

/// Begins, for this thread and those that it starts.
///
/// # Panics
/// Where the kernel takes no filter: a control that can't be had must not look like one.
#[allow(
    unsafe_code,
    reason = "prctl has no safe form; the filter outlives the call that copies it"
)]
pub fn begin() {
    let number = |n: libc::c_long| u32::try_from(n).expect("a system call's number");
    let mut filter = [
        // The number stands first in `seccomp_data`.
        step(BPF_LD | BPF_W | BPF_ABS, 0, 0, 0),
        step(BPF_JMP | BPF_JEQ | BPF_K, number(SYS_fsync), 1, 0),
        step(BPF_JMP | BPF_JEQ | BPF_K, number(SYS_fdatasync), 0, 1),
        step(BPF_RET | BPF_K, SECCOMP_RET_ERRNO, 0, 0),
        step(BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0),
    ];
    let program = sock_fprog { len: 5, filter: filter.as_mut_ptr() };
    let done = unsafe {
        libc::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &raw const program) == 0
    };
    assert!(done, "no seccomp filter: {}", std::io::Error::last_os_error());
}
