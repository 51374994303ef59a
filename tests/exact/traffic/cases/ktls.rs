//! Kernel TLS: what the program moves is plaintext, what TCP moves is not.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::cases::absent;
use crate::sock::{Fam, Sock, V4, V6, tcp_pair};
use crate::sys;
use crate::transfer::{cmsg, pattern};
use crate::truth;

cases! {
    "TLS 1.2 AES-GCM, send and recv both ways" => ktls_send_recv,
    "TLS 1.3 over IPv6" => ktls_tls13,
    "read, write, readv, writev, MSG_MORE" => ktls_vectors,
    "MSG_PEEK before every read" => ktls_peek,
    "sendfile" => ktls_sendfile,
    "splice into and out of the socket" => ktls_splice,
    "records larger than one read, and MSG_WAITALL" => ktls_records,
    "a control record (alert) sent and received with its type" => ktls_control,
    "only one side in the kernel: plaintext there, ciphertext here" => ktls_one_side,
    "non-blocking sends until EAGAIN" => ktls_nonblocking,
    "plain data first, TLS after it on the same connection" => ktls_after_plain,
}

const SOL_TLS: i32 = 282;
const TCP_ULP: i32 = 31;
const TLS_TX: i32 = 1;
const TLS_RX: i32 = 2;

/// `struct tls12_crypto_info_aes_gcm_128` with fixed keys.
#[repr(C)]
struct AesGcm {
    version: u16,
    cipher: u16,
    iv: [u8; 8],
    key: [u8; 16],
    salt: [u8; 4],
    rec_seq: [u8; 8],
}

fn keys(version: u16) -> AesGcm {
    AesGcm { version, cipher: 51, iv: [1; 8], key: [2; 16], salt: [3; 4], rec_seq: [0; 8] }
}

fn ulp(s: &Sock) -> Result<()> {
    if s.try_set(libc::IPPROTO_TCP, TCP_ULP, *b"tls").is_err() {
        // The kernel may know the module and not have loaded it.
        let _ = Command::new("modprobe").arg("tls").stderr(Stdio::null()).status();
        s.try_set(libc::IPPROTO_TCP, TCP_ULP, *b"tls").map_err(absent("kTLS"))?;
    }
    Ok(())
}

fn encrypt(s: &Sock, version: u16) -> Result<()> {
    ulp(s)?;
    s.try_set(SOL_TLS, TLS_TX, keys(version)).map_err(absent("TLS_TX"))?;
    s.try_set(SOL_TLS, TLS_RX, keys(version)).map_err(absent("TLS_RX"))?;
    s.set_layer("ktls");
    Ok(())
}

fn tls_pair_version(fam: Fam, version: u16) -> Result<(Sock, Sock)> {
    let (c, s) = tcp_pair(fam)?;
    encrypt(&c, version)?;
    encrypt(&s, version)?;
    Ok((c, s))
}

fn tls_pair() -> Result<(Sock, Sock)> {
    tls_pair_version(V4, 0x0303)
}

fn exchange(c: &Sock, s: &Sock) -> Result<()> {
    for i in 1..=20 {
        c.send_all(&pattern(i * 200))?;
        s.recv_exact(i * 200)?;
        s.send_all(&pattern(i * 37))?;
        c.recv_exact(i * 37)?;
    }
    Ok(())
}

fn ktls_send_recv() -> Result<()> {
    let (c, s) = tls_pair()?;
    exchange(&c, &s)
}

fn ktls_tls13() -> Result<()> {
    let (c, s) = tls_pair_version(V6, 0x0304)?;
    exchange(&c, &s)
}

fn ktls_vectors() -> Result<()> {
    let (c, s) = tls_pair()?;
    let (a, b) = (pattern(700), pattern(1300));
    let (mut x, mut y) = (vec![0; 1000], vec![0; 4000]);
    for _ in 0..10 {
        c.writev(&[&a, &b])?;
        c.write(&a)?;
        c.send(&b, libc::MSG_MORE)?;
        c.send(&a, 0)?;
        let mut got = 0;
        while got < 4700 {
            got += s.readv(&mut x, &mut y)?;
            if got < 4700 {
                got += s.read(&mut x)?;
            }
        }
    }
    Ok(())
}

fn ktls_peek() -> Result<()> {
    let (c, s) = tls_pair()?;
    let mut buf = [0; 3000];
    for i in 1..=20 {
        c.send_all(&pattern(i * 100))?;
        s.recv(&mut buf, libc::MSG_PEEK)?;
        s.recv(&mut buf[..10], libc::MSG_PEEK)?;
        s.recv_exact(i * 100)?;
    }
    Ok(())
}

fn ktls_sendfile() -> Result<()> {
    let (c, s) = tls_pair()?;
    let file = sys::memfd(&pattern(100_000))?;
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| s.recv_exact(100_000));
        let mut sent = 0;
        while sent < 100_000 {
            sent += c.sendfile(file, 30_000)?;
        }
        reader.join().expect("reader")
    })
}

fn ktls_splice() -> Result<()> {
    let (c, s) = tls_pair()?;
    let (r, w) = sys::pipe()?;
    for i in 1..=10 {
        sys::write_all(w, &pattern(i * 400));
        let mut left = i * 400;
        while left > 0 {
            left -= c.splice_in(r, left, 0)?;
        }
        let mut left = i * 400;
        while left > 0 {
            let n = s.splice_out(w, left, 0).context("splice out of kTLS")?;
            ensure!(n > 0, "end of stream");
            sys::read(r, &mut vec![0; n])?;
            left -= n;
        }
    }
    Ok(())
}

fn ktls_records() -> Result<()> {
    let (c, s) = tls_pair()?;
    let mut buf = vec![0; 50_000];
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| c.send_all(&pattern(100_000)));
        ensure!(s.recv(&mut buf, libc::MSG_WAITALL)? == 50_000, "short MSG_WAITALL");
        for _ in 0..50 {
            s.recv_exact(1000)?;
        }
        writer.join().expect("writer")
    })
}

fn ktls_control() -> Result<()> {
    const TLS_SET_RECORD_TYPE: i32 = 1;
    let (c, s) = tls_pair()?;
    c.send_all(&pattern(500))?;
    s.recv_exact(500)?;
    let alert = cmsg(SOL_TLS, TLS_SET_RECORD_TYPE, 21u8);
    c.sendmsg(&[&[1, 0]], None, &alert, 0)?;
    let r = s.recvmsg(&mut [&mut [0; 100]], 0)?;
    ensure!(r.n == 2 && !r.control.is_empty(), "no alert");
    c.send_all(&pattern(50))?;
    s.recv_exact(50)
}

fn ktls_one_side() -> Result<()> {
    truth::lossy();
    let (c, s) = tcp_pair(V4)?;
    encrypt(&c, 0x0303)?;
    c.send_all(&pattern(5000))?;
    c.shutdown(libc::SHUT_WR)?;
    ensure!(s.drain()? > 5000, "no ciphertext");
    Ok(())
}

fn ktls_nonblocking() -> Result<()> {
    let (c, s) = tls_pair()?;
    c.nonblocking(true)?;
    let mut sent = 0;
    while let Ok(n) = c.send(&pattern(20_000), 0) {
        sent += n;
    }
    ensure!(sent > 0, "nothing went out");
    c.nonblocking(false)?;
    // A record begun but refused may be completed by a later call, which then returns its bytes.
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| s.drain());
        c.send_all(&pattern(1000))?;
        c.shutdown(libc::SHUT_WR)?;
        reader.join().expect("reader").map(|_| ())
    })
}

fn ktls_after_plain() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    c.send_all(&pattern(3000))?;
    s.recv_exact(3000)?;
    encrypt(&c, 0x0303)?;
    encrypt(&s, 0x0303)?;
    exchange(&c, &s)?;
    Ok(())
}
