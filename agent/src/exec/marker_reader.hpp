#ifndef HF_SANDBOX_AGENT_EXEC_MARKER_READER_HPP
#define HF_SANDBOX_AGENT_EXEC_MARKER_READER_HPP

#include "detail/blocking_pool.hpp"
#include "exec/process_scan.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace hf::agent {

/// Reads the markers of many processes without waiting for ever. A process that is at its memory
/// map (a fault on a file system that does not answer, for instance) lets whoever reads its
/// environment wait; the timeout of a command must not depend on that. So the environments are read
/// on threads that may be lost, each in time or not at all, and such a process is not asked again.
///
/// May be used from any thread.
class marker_reader {
 public:
  using read_one = std::function<std::optional<std::string>(pid_t)>;

  explicit marker_reader(read_one read = read_run_marker,
                         std::chrono::milliseconds patience = std::chrono::milliseconds(1000));

  /// By pid, without those that have no marker or do not tell.
  [[nodiscard]] std::unordered_map<pid_t, std::string> read(
      std::vector<process_info> const& processes);

  /// The agent's. It is never destroyed, because threads may hang in it. To be called first at the
  /// agent's start, while a thread is sure to be had.
  static marker_reader& common();

 private:
  struct round;

  bool hangs(process_info const& process);
  void note_hanging(process_info const& process);
  void has_answered(process_info const& process);

  read_one read_;
  std::chrono::milliseconds patience_;
  blocking_pool pool_{{1, 16, std::chrono::milliseconds(1)}};
  std::mutex mutex_;
  /// Start times by pid.
  std::unordered_map<pid_t, std::uint64_t> hanging_;
};

}  // namespace hf::agent

#endif
