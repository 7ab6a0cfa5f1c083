#ifndef HF_SANDBOX_AGENT_CONFINE_SYSTEM_PATHS_HPP
#define HF_SANDBOX_AGENT_CONFINE_SYSTEM_PATHS_HPP

namespace hf::agent::confine {

/// Directories of the host that commands may read and execute, where they exist.
inline constexpr char const* system_directories[] = {
    "/usr",   "/bin",    "/sbin", "/lib",       "/lib32",
    "/lib64", "/libx32", "/opt",  "/nix/store", "/gnu/store",
};

/// What of /etc is shown, where it exists: what the dynamic linker, name resolution, TLS and common
/// language runtimes read. Left out is everything that may hold a secret or names the host's users:
/// shadow, ssh, sudoers, pip.conf, npmrc, gitconfig, credentials of services, private keys.
inline constexpr char const* etc_entries[] = {
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "alternatives",
    "ssl/certs",
    "ssl/openssl.cnf",
    "ssl/cert.pem",
    "ca-certificates",
    "ca-certificates.conf",
    "pki/tls/certs",
    "pki/ca-trust",
    "pki/tls/openssl.cnf",
    "crypto-policies",
    "resolv.conf",
    "host.conf",
    "gai.conf",
    "services",
    "protocols",
    "networks",
    "rpc",
    "localtime",
    "timezone",
    "locale.alias",
    "locale.conf",
    "default/locale",
    "mime.types",
    "magic",
    "magic.mime",
    "os-release",
    "lsb-release",
    "debian_version",
    "redhat-release",
    "alpine-release",
    "terminfo",
    "inputrc",
    "bash.bashrc",
    "profile",
    "python3",
    "python3.9",
    "python3.10",
    "python3.11",
    "python3.12",
    "python3.13",
    "python3.14",
    "perl",
    "java-8-openjdk",
    "java-11-openjdk",
    "java-17-openjdk",
    "java-21-openjdk",
    "java-25-openjdk",
    "fonts",
    "ghc",
    "lua",
    "R",
    "php",
    "emacs",
    "vim",
};

/// Devices that hold nothing of the host.
inline constexpr char const* devices[] = {"null", "zero", "full", "random", "urandom", "tty"};

}  // namespace hf::agent::confine

#endif
