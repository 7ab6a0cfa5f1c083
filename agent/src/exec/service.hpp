#ifndef HF_SANDBOX_AGENT_EXEC_SERVICE_HPP
#define HF_SANDBOX_AGENT_EXEC_SERVICE_HPP

#include "detail/op_registry.hpp"
#include "exec/command_plan.hpp"
#include "exec/core.hpp"
#include "exec/run.hpp"
#include "exec/run_table.hpp"
#include "exec/streaming.hpp"
#include "http/exchange.hpp"
#include "http/router.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace hf::agent {

/// Commands: the routes of exec, processes and ops, and what they need. On the event loop's thread.
class exec_service {
 public:
  /// The agent's own commands, in dedicated mode.
  explicit exec_service(context& shared, exec_settings settings = {});
  /// Commands of one sandbox among several: `core` is shared, table and account are its own.
  exec_service(exec_core& core, run_account account, command_base base);
  exec_service(exec_service const&) = delete;
  exec_service& operator=(exec_service const&) = delete;
  ~exec_service();

  /// Names of what this part adds to the common protocol: true, or the reason why not.
  [[nodiscard]] json features() const;
  /// Ends every command: TERM, two seconds later KILL. Nothing is started any more.
  asio::awaitable<void> shutdown();
  /// Starts nothing any more: 400 says that the sandbox is gone.
  void close();
  /// After `close`: whether no new process is left that has not become a command yet. Until then
  /// one can still turn up with the commands' user id.
  [[nodiscard]] bool starts_are_over() const;

  [[nodiscard]] exec_core& core() noexcept { return *core_; }

  // The routes, for those who find the id elsewhere in the path.
  asio::awaitable<void> exec(exchange& ex);
  asio::awaitable<void> start_process(exchange& ex);
  asio::awaitable<void> list_processes(exchange& ex);
  asio::awaitable<void> delete_process(exchange& ex, std::string id);
  asio::awaitable<void> process_events(exchange& ex, std::string id);
  asio::awaitable<void> process_wait(exchange& ex, std::string id);
  asio::awaitable<void> process_signal(exchange& ex, std::string id);
  asio::awaitable<void> process_stdin(exchange& ex, std::string id);
  asio::awaitable<void> operation(exchange& ex, std::string op);

 private:
  /// A request for a command, and the digest that tells it from others.
  struct incoming {
    wire::exec_request request = {};
    sha256_digest digest = {};
  };
  asio::awaitable<incoming> read_request(exchange& ex);
  /// Starts a run, or finds the one that the same request with the same operation id has started;
  /// returns when its program has been executed. `place` is where a caller stands who wants the
  /// output; without one the run goes on when the caller does not wait for the start.
  asio::awaitable<std::shared_ptr<run>> obtain(exchange& ex, incoming what, bool foreground,
                                               std::optional<attachment>* place = nullptr);
  std::shared_ptr<run> begin(incoming what, std::optional<identity> const& user, bool foreground);
  void settled(run& one);
  /// What is being started does not start.
  void give_up_starts();
  [[nodiscard]] std::shared_ptr<run> starting_by_op(std::string const& op) const;
  /// 409 for a request that names another agent: the ids are given anew at every start.
  void refuse_if_meant_for_another(exchange const& ex) const;
  std::shared_ptr<run> require(exchange const& ex, std::string const& id) const;

  std::unique_ptr<exec_core> own_core_;
  exec_core* core_;
  run_account account_;
  command_base base_;
  op_registry ops_;
  run_table table_;
  /// Runs whose program has not been executed yet.
  std::unordered_map<run*, std::shared_ptr<run>> starting_;
  std::unordered_map<std::string, run*> starting_ops_;
  /// New processes, also those that their runs have given up.
  std::vector<std::weak_ptr<void const>> starts_;
  bool stopping_ = false;
  bool closed_ = false;
};

/// The service whose commands a request is about.
using exec_service_of = std::function<exec_service&(exchange&)>;

/// Adds exec, processes... and ops/{op} below `prefix`.
void add_exec_routes(router& routes, std::string_view prefix, exec_service_of service_of);

}  // namespace hf::agent

#endif
