//! The commands that are files elsewhere: coreutils, findutils, grep, sed. One file a family.

mod change;
mod columns;
mod compare;
mod find;
mod grep;
mod listing;
mod misc;
mod modes;
mod names;
mod printf;
mod sed;
mod sort;
mod text;

use super::state::{Run, Shell};

pub(crate) type Tool = fn(&mut Shell, &[Vec<u8>]) -> Run;

/// The command of this name.
pub(crate) fn find(name: &[u8]) -> Option<Tool> {
    Some(match name {
        b"true" => |_, _| Ok(0),
        b"false" => |_, _| Ok(1),
        b"echo" | b"pwd" | b"test" | b"[" => return super::builtins::find(name),
        b"printf" => printf::printf,
        b"cat" => text::cat,
        b"head" => text::head,
        b"tail" => text::tail,
        b"wc" => text::wc,
        b"tee" => text::tee,
        b"nl" => text::nl,
        b"rev" => text::rev,
        b"tac" => text::tac,
        b"fold" => text::fold,
        b"cut" => columns::cut,
        b"paste" => columns::paste,
        b"tr" => columns::tr,
        b"join" => columns::join_files,
        b"comm" => compare::comm,
        b"diff" => compare::diff,
        b"cmp" => compare::cmp,
        b"sort" => sort::sort,
        b"uniq" => sort::uniq,
        b"grep" | b"egrep" | b"fgrep" => grep::grep,
        b"sed" => sed::sed,
        b"ls" => listing::ls,
        b"stat" => listing::stat,
        b"du" => listing::du,
        b"mkdir" => change::mkdir,
        b"rmdir" => change::rmdir,
        b"rm" => change::rm,
        b"mv" => change::mv,
        b"cp" => change::cp,
        b"touch" => change::touch,
        b"ln" => change::ln,
        b"chmod" => modes::chmod,
        b"chown" | b"chgrp" => modes::chown,
        b"truncate" => modes::truncate,
        b"mktemp" => modes::mktemp,
        b"find" => find::find,
        b"xargs" => find::xargs,
        b"basename" => names::basename,
        b"dirname" => names::dirname,
        b"realpath" | b"readlink" => names::realpath,
        b"seq" => misc::seq,
        b"expr" => misc::expr,
        b"yes" => misc::yes,
        b"whoami" => |shell, _| shell.out_line(b"user").map(|()| 0),
        b"id" => misc::id,
        b"uname" => misc::uname,
        b"hostname" => |shell, _| shell.out_line(b"localhost").map(|()| 0),
        b"sleep" => misc::sleep,
        b"env" => misc::env,
        b"printenv" => misc::printenv,
        b"which" => misc::which,
        b"bash" | b"sh" | b"dash" => misc::bash,
        b"timeout" => misc::timeout,
        b"nohup" | b"nice" | b"sudo" => |shell, args| shell.run_tool(args.get(1..).unwrap_or_default()),
        _ => return None,
    })
}

/// Why a command that everybody knows is not to be had.
pub(crate) fn refused(name: &[u8]) -> Option<&'static str> {
    Some(match name {
        b"date" | b"cal" | b"uptime" => "this shell has no clock",
        b"df" | b"mount" | b"umount" | b"free" | b"lsblk" => "this shell has no devices",
        b"curl" | b"wget" | b"ssh" | b"nc" | b"ping" | b"scp" | b"rsync" | b"git" => "this shell has no network",
        b"ps" | b"top" | b"kill" | b"pkill" | b"killall" | b"jobs" | b"fg" | b"bg" => "this shell has no processes",
        b"file" => "this shell does not tell kinds of files",
        b"tar" | b"zip" | b"unzip" | b"gzip" | b"gunzip" | b"zcat" | b"bzip2" | b"xz" => "this shell has no archives",
        _ => return None,
    })
}
