// A pause that takes its signals one by one from a signalfd(2).
const std = @import("std");
const linux = std.os.linux;

pub fn main() void {
    var set = linux.empty_sigset;
    for ([_]u6{ linux.SIG.TERM, linux.SIG.INT, linux.SIG.CHLD }) |number| {
        linux.sigaddset(&set, number);
    }
    _ = linux.sigprocmask(linux.SIG.BLOCK, &set, null);
    const fd = linux.signalfd(-1, &set, linux.SFD.CLOEXEC);
    while (true) {
        while (true) {
            var status: u32 = 0;
            const pid: isize = @bitCast(linux.waitpid(-1, &status, linux.W.NOHANG));
            if (pid <= 0) break;
        }
        var info: linux.signalfd_siginfo = undefined;
        const length = linux.read(@intCast(fd), @ptrCast(&info), @sizeOf(linux.signalfd_siginfo));
        if (length != @sizeOf(linux.signalfd_siginfo)) continue;
        if (info.signo != linux.SIG.CHLD) linux.exit_group(0);
    }
}
