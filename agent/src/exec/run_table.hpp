#ifndef HF_SANDBOX_AGENT_EXEC_RUN_TABLE_HPP
#define HF_SANDBOX_AGENT_EXEC_RUN_TABLE_HPP

#include "detail/op_registry.hpp"
#include "exec/core.hpp"
#include "exec/run.hpp"

#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace hf::agent {

/// The runs that can be asked for, and how long they can be. On the event loop's thread.
class run_table {
 public:
  /// `budget` is what the output of these runs is charged to.
  run_table(exec_core& core, op_registry& ops, log_budget const& budget);
  run_table(run_table const&) = delete;
  run_table& operator=(run_table const&) = delete;
  ~run_table();

  /// Takes a run that was started; one with an id can be found from here on.
  void add(std::shared_ptr<run> const& started);
  [[nodiscard]] std::shared_ptr<run> by_id(std::string_view id) const;
  [[nodiscard]] std::shared_ptr<run> by_pid(std::int64_t pid) const;
  [[nodiscard]] std::shared_ptr<run> by_op(std::string const& op) const;
  /// In order of their start; background runs only unless `all`.
  [[nodiscard]] std::vector<std::shared_ptr<run>> list(bool all) const;
  /// Runs that have not ended.
  [[nodiscard]] std::vector<std::shared_ptr<run>> running() const;

  /// A caller has the exit event: what only he needed is given up.
  void delivered(run& ended);
  /// Forgets a run at once.
  void remove(run& one);
  /// Room for the next background process in the list.
  void trim_list();
  /// Stops the clock, so that the loop can end.
  void stop() { clock_.cancel(); }

 private:
  using clock = std::chrono::steady_clock;
  struct entry {
    std::shared_ptr<run> what;
    /// Shown by `list`.
    bool listed = false;
    /// Its result is still to be had.
    bool kept = true;
    /// It stands in `delivered_`.
    bool delivered = false;
  };
  using entries = std::map<std::uint64_t, entry>;

  [[nodiscard]] static std::optional<std::uint64_t> number(std::string_view id);
  void ended(run& one);
  void expire();
  void start_clock();
  void give_up_result(entries::iterator at);
  void drop_oldest_delivered();
  void relieve();

  exec_core& core_;
  op_registry& ops_;
  log_budget const& budget_;
  std::list<std::function<void()>>::iterator reliever_;
  entries entries_;
  std::unordered_map<std::string, std::uint64_t> by_op_;
  std::unordered_map<run*, std::shared_ptr<run>> running_;
  /// Ended, in order of their end.
  std::deque<std::pair<clock::time_point, std::uint64_t>> ended_;
  /// Ended background processes in the list.
  std::deque<std::uint64_t> listed_;
  /// Runs whose delivered output is still in memory, with its size.
  std::deque<std::pair<std::uint64_t, std::uint64_t>> delivered_;
  std::uint64_t delivered_memory_ = 0;
  boost::asio::steady_timer clock_;
  bool clock_runs_ = false;
};

}  // namespace hf::agent

#endif
