#ifndef HF_SANDBOX_AGENT_EXEC_SERVICE_HPP
#define HF_SANDBOX_AGENT_EXEC_SERVICE_HPP

#include "detail/op_registry.hpp"
#include "exec/command_plan.hpp"
#include "exec/core.hpp"
#include "exec/run.hpp"
#include "exec/run_table.hpp"
#include "http/exchange.hpp"
#include "http/router.hpp"

#include <memory>
#include <string>
#include <string_view>

namespace hf::agent {

/// Commands: the routes of exec, processes and ops, and what they need. On the event loop's thread.
class exec_service {
 public:
  /// The agent's own commands, in dedicated mode.
  explicit exec_service(context& shared, exec_settings settings = {});
  /// Commands of one sandbox among several: `core` is shared, the table is its own.
  exec_service(exec_core& core, command_base base);
  exec_service(exec_service const&) = delete;
  exec_service& operator=(exec_service const&) = delete;

  /// Adds /v1/exec, /v1/processes... and /v1/ops/{op}.
  void add_routes(router& routes);
  /// Names of what this part adds to the common protocol: true, or the reason why not.
  [[nodiscard]] json features() const;
  /// Ends every command: TERM, two seconds later KILL. Nothing is started any more.
  asio::awaitable<void> shutdown();
  /// Kills every command of this service and forgets them.
  asio::awaitable<void> kill_all();

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
  /// Starts a run, or finds the one that the same request with the same operation id has started.
  std::shared_ptr<run> obtain(exchange& ex, std::string_view body, wire::exec_request request,
                              bool foreground);
  /// 409 for a request that names another agent: the ids are given anew at every start.
  void refuse_if_meant_for_another(exchange const& ex) const;
  std::shared_ptr<run> require(exchange const& ex, std::string const& id) const;

  std::unique_ptr<exec_core> own_core_;
  exec_core* core_;
  command_base base_;
  run_table table_;
  op_registry ops_;
  bool stopping_ = false;
};

}  // namespace hf::agent

#endif
