#ifndef HF_SANDBOX_TESTS_SUPPORT_FAKE_HUB_JOB_PROCESS_HPP
#define HF_SANDBOX_TESTS_SUPPORT_FAKE_HUB_JOB_PROCESS_HPP

#include <sys/types.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace hf::testing_support::fake {

struct job_mount {
  std::string from;
  std::string to;
  bool read_only = true;
};

struct job_command {
  std::vector<std::string> argv;
  std::map<std::string, std::string> environment;
  std::vector<job_mount> mounts;
  /// An empty directory of the job's own.
  std::string directory;
  /// Own mounts, processes, IPC and host name, beside the network namespace of the calling thread.
  bool isolate = true;
};

/// A running job command. Ends when the thread that started it ends.
class job_process {
 public:
  /// Nothing when it cannot be started.
  static std::optional<job_process> start(job_command const& what);

  /// Reading end of what it prints; the caller closes it.
  [[nodiscard]] int output() const noexcept { return output_; }
  void kill() const;
  /// Exit code (128 + signal) once it has ended; waits for it then.
  [[nodiscard]] std::optional<int> ended() const;
  /// All its processes.
  [[nodiscard]] std::vector<pid_t> members() const;

 private:
  pid_t outer_ = -1;
  int output_ = -1;
  bool isolated_ = false;
};

/// Whether this system lets us isolate.
bool can_isolate();

}  // namespace hf::testing_support::fake

#endif
