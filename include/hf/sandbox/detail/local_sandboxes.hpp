#ifndef HF_SANDBOX_DETAIL_LOCAL_SANDBOXES_HPP
#define HF_SANDBOX_DETAIL_LOCAL_SANDBOXES_HPP

#include <hf/sandbox/detail/local_record.hpp>
#include <hf/sandbox/detail/local_state.hpp>
#include <hf/sandbox/detail/remove_tree.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/launchers/launcher.hpp>
#include <hf/sandbox/wire/json.hpp>
#include <hf/sandbox/wire/routes.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <ctime>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace hf::detail {

/// The sandboxes below one state directory: finding them, describing them, ending them. Holds no
/// state but the path; programs that share the directory see the same sandboxes.
template <class Json = wire::json, class Machine = instance>
class local_sandboxes {
 public:
  using clock = std::chrono::steady_clock;

  /// `base` empty: the default state directory.
  explicit local_sandboxes(std::string base)
      : own_base_(base.empty()), base_(own_base_ ? default_state_directory() : std::move(base)) {}

  /// The directory above a sandbox's is one of ours, removed with its last sandbox.
  [[nodiscard]] bool owns_base() const noexcept { return own_base_; }

  [[nodiscard]] std::string const& base() const noexcept { return base_; }
  [[nodiscard]] std::string path_of(std::string const& id) const { return base_ + "/" + id; }
  /// Where it is while it is cleared away.
  [[nodiscard]] std::string ended_path_of(std::string const& id) const {
    return base_ + "/" + std::string(ended_prefix) + id;
  }

  /// The directory of one sandbox; an empty descriptor when there is none.
  [[nodiscard]] unique_fd open(std::string const& id) const {
    if (!is_local_id(id))
      return {};
    if (unique_fd const base = open_private_directory(base_, false); !base)
      return {};
    // The short second name of another directory's sandbox may lie here.
    struct stat found {};
    if (::lstat(path_of(id).c_str(), &found) == 0 && S_ISLNK(found.st_mode))
      return {};
    return open_private_directory(path_of(id), false);
  }

  /// What is known of a sandbox that lives; nothing when it does not.
  [[nodiscard]] std::optional<Machine> find(std::string const& id) const {
    unique_fd const directory = open(id);
    if (!directory || try_lock_directory(directory.get()))
      return std::nullopt;
    return describe(id, directory.get());
  }

  /// All that live.
  [[nodiscard]] std::vector<instance> all() const {
    std::vector<instance> found;
    unique_fd const base = open_private_directory(base_, false);
    if (!base)
      return found;
    for (auto const& id : local_ids(base.get()))
      if (auto machine = find(id))
        found.push_back(std::move(*machine));
    return found;
  }

  /// Ends a sandbox: returns when nothing of it runs and nobody finds it any more. What it wrote is
  /// mostly gone then; a large rest is removed by its keeper, or by those of later sandboxes.
  /// Nothing to do when there is no such sandbox.
  void end(std::string const& id) const {
    unique_fd const directory = open(id);
    if (!directory) {
      wait_for_removal(id);
      return;
    }
    if (!try_lock_directory(directory.get())) {
      end_keeper(id, directory.get());
      // Hidden by the keeper, unless that was killed itself. Those who only look whether it lives
      // hold the lock for a moment.
      auto const deadline = clock::now() + std::chrono::seconds(2);
      for (;;) {
        if (!open(id))
          return;
        if (try_lock_directory(directory.get()))
          break;
        if (clock::now() >= deadline)
          throw error(errc::io_error, "sandbox " + id + " did not end");
        ::poll(nullptr, 0, 2);
      }
    }
    hide(id);
    remove_ended(id, directory.get(), clock::now() + patience);
  }

  /// Clears away what is left of sandboxes whose keeper was killed, up to the deadline.
  void remove_stale(clock::time_point deadline) const {
    unique_fd const base = open_private_directory(base_, false);
    if (!base)
      return;
    auto const open_in_base = [&](std::string const& name) {
      return unique_fd(
          ::openat(base.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    };
    for (auto const& id : local_ids(base.get())) {
      unique_fd const directory = open_in_base(id);
      struct stat found {};
      // A young directory may be one that is about to be locked.
      if (directory && ::fstat(directory.get(), &found) == 0 &&
          std::time(nullptr) - found.st_mtime > 60 && try_lock_directory(directory.get()))
        hide(id);
    }
    for (auto const& id : local_ids(base.get(), ended_prefix)) {
      if (clock::now() >= deadline)
        return;
      unique_fd const directory = open_in_base(std::string(ended_prefix) + id);
      if (directory && try_lock_directory(directory.get()))
        remove_ended(id, directory.get(), deadline);
    }
  }

  void remove_stale() const { remove_stale(clock::now() + std::chrono::seconds(1)); }

  /// Takes the directory of a sandbox that does not run any more out of sight.
  void hide(std::string const& id) const noexcept {
    ::rename(path_of(id).c_str(), ended_path_of(id).c_str());
  }

  /// Removes what a hidden sandbox has left; the record goes when the rest is gone. Whoever calls
  /// this holds the lock of the directory.
  void remove_ended(std::string const& id, int directory, clock::time_point deadline) const {
    if (auto const record = read_local_record<Json>(directory)) {
      if (record->alias == local_alias_path(id))
        remove_local_alias(record->alias);
      // The record is a file of this user's; still, only a path of the expected name is removed.
      if (std::filesystem::path(record->scratch).filename() == scratch_name(id) &&
          !remove_tree(record->scratch, deadline))
        return;
    }
    (void)remove_tree(ended_path_of(id));
    remove_base_if_empty();
  }

  void remove_base_if_empty() const noexcept {
    if (own_base_)
      ::rmdir(base_.c_str());
  }

  /// Makes the directory of a new sandbox.
  [[nodiscard]] unique_fd make(std::string const& id) const {
    for (int attempt = 0;; ++attempt) {
      (void)open_private_directory(base_, true);
      try {
        return open_private_directory(path_of(id), true);
      } catch (error const& e) {
        // The last sandbox of another program has just taken the directory above with it.
        if (e.details().system_error != ENOENT || attempt == 100)
          throw;
      }
    }
  }

  /// Name of the directory that a sandbox writes to.
  [[nodiscard]] static std::string scratch_name(std::string const& id) {
    return "hf-sandbox-" + std::to_string(::geteuid()) + "-" + id;
  }

  /// Whether a socket in this sandbox's directory has too long a path for `sockaddr_un`.
  [[nodiscard]] bool needs_alias(std::string const& id) const {
    return path_of(id).size() + sizeof "/agent.sock" > sizeof sockaddr_un{}.sun_path;
  }

  /// How a sandbox is reached.
  [[nodiscard]] endpoint reach(std::string const& id, std::string const& alias,
                               std::string token) const {
    endpoint to;
    to.url = "http://localhost";
    to.headers.add(std::string(wire::token_header), std::move(token));
    to.unix_socket = (alias.empty() ? path_of(id) : alias) + "/agent.sock";
    return to;
  }

 private:
  [[nodiscard]] std::optional<Machine> describe(std::string const& id, int directory) const {
    Machine machine;
    machine.id = id;
    auto const record = read_local_record<Json>(directory);
    auto token = read_file_at(directory, "token");
    // Its keeper, which holds the lock up to the end, has begun to remove it.
    if (!record || (record->keeper != 0 && !token))
      return std::nullopt;
    if (record->keeper == 0) {
      machine.phase = phase::starting;
      machine.message = "is being started";
      return machine;
    }
    machine.phase = phase::running;
    machine.labels = record->labels;
    machine.message = "isolation " + record->isolation;
    machine.endpoint = reach(id, record->alias, std::move(*token));
    return machine;
  }

  /// Waits for the record of a sandbox that lives; nothing when the sandbox has ended. The record
  /// is the first thing that is written, but it may be the first one to go, too: while the keeper
  /// removes the directory, it still has the lock.
  [[nodiscard]] auto wait_for_record(int directory) const {
    auto const deadline = clock::now() + longest_end;
    for (;;) {
      auto record = read_local_record<Json>(directory);
      if (record || try_lock_directory(directory) || clock::now() >= deadline)
        return record;
      ::poll(nullptr, 0, 2);
    }
  }

  /// Of a sandbox that its keeper has hidden: mostly there is little to remove.
  void wait_for_removal(std::string const& id) const {
    if (!is_local_id(id))
      return;
    auto const until = clock::now() + patience;
    while (::access(ended_path_of(id).c_str(), F_OK) == 0 && clock::now() < until)
      ::poll(nullptr, 0, 2);
  }

  void end_keeper(std::string const& id, int directory) const {
    auto const record = wait_for_record(directory);
    if (!record)
      return;
    if (record->keeper == 0)
      throw error(errc::conflict, "sandbox " + id + " is being started by its creator");
    unique_fd const keeper(static_cast<int>(::syscall(SYS_pidfd_open, record->keeper, 0)));
    if (!keeper || process_start_time(record->keeper) != record->keeper_start)
      return;
    auto const send = [&](int signal) {
      ::syscall(SYS_pidfd_send_signal, keeper.get(), signal, nullptr, 0);
    };
    auto const hidden = [&] { return ::access(path_of(id).c_str(), F_OK) != 0; };
    auto const gone_within = [&](std::chrono::milliseconds time, bool or_hidden) {
      for (auto const until = clock::now() + time;;) {
        pollfd watched{keeper.get(), POLLIN, 0};
        if (::poll(&watched, 1, 10) > 0 || (or_hidden && hidden()))
          return true;
        if (clock::now() >= until)
          return false;
      }
    };
    send(SIGTERM);
    if (gone_within(longest_end, true)) {
      // Mostly there is little to remove: then nothing is left when this returns.
      gone_within(patience, false);
      return;
    }
    send(SIGKILL);
    gone_within(std::chrono::seconds(5), false);
  }

  /// How long a sandbox may take to end what runs in it.
  static constexpr std::chrono::seconds longest_end{60};
  /// How long those who end a sandbox wait for the removal of what it wrote.
  static constexpr std::chrono::seconds patience{2};

  bool own_base_;
  std::string base_;
};

}  // namespace hf::detail

#endif
