#ifndef HF_SANDBOX_LAUNCHERS_PROCESS_OPTIONS_HPP
#define HF_SANDBOX_LAUNCHERS_PROCESS_OPTIONS_HPP

#include <filesystem>

namespace hf {

/// How much a local sandbox is kept from the machine it runs on.
enum class isolation {
  /// A root directory, process numbers and IPC of its own, in Linux namespaces, with Landlock and a
  /// system call filter on top. Commands see the system directories (read-only) and a home of their
  /// own; nothing else of the machine's files, sockets and processes.
  private_root,
  /// The machine's own root and process numbers; Landlock (Linux 6.12) and a system call filter
  /// keep
  /// commands to the system directories and their home. Names and attributes of files and other
  /// processes stay visible.
  landlock_only,
  /// None: commands can do everything that the caller can. Only the environment is not passed on.
  none,
};

/// The isolation's name, as `isolation` spells it.
[[nodiscard]] constexpr char const* to_string(isolation value) noexcept {
  switch (value) {
    case isolation::private_root:
      return "private_root";
    case isolation::landlock_only:
      return "landlock_only";
    case isolation::none:
      return "none";
  }
  return "private_root";
}

/// Settings of `process_launcher`.
struct process_launcher_options {
  /// The agent's binary; empty: searched for (`locate_agent`).
  std::filesystem::path agent = {};
  /// How much a sandbox is kept from this machine. What is not available here is an error
  /// (`errc::isolation_unavailable`), never replaced by something weaker.
  hf::isolation isolation = hf::isolation::private_root;
  /// Where sandboxes have their sockets and tokens; empty: `$XDG_RUNTIME_DIR` or `/tmp`, with
  /// `/hf-sandbox-<uid>`. Made when absent; must belong to the user, with mode 0700.
  std::filesystem::path state_directory = {};
  /// Where sandboxes have a directory each for all they write; empty: `$TMPDIR`, else `/var/tmp`.
  /// Must exist. Nothing limits how much a sandbox writes there.
  std::filesystem::path scratch_directory = {};
};

}  // namespace hf

#endif
