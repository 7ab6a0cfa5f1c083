#include "exec/service.hpp"

#include "detail/run_blocking.hpp"
#include "exec/process_scan.hpp"
#include "exec/sweep.hpp"

#include <hf/sandbox/error.hpp>
#include <hf/sandbox/wire/routes.hpp>

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <signal.h>
#include <unistd.h>

#include <utility>

namespace hf::agent {
namespace {

sha256_digest run_digest(exchange const& ex, std::string_view body) {
  sha256 digest;
  for (auto const& segment : ex.head().path) {
    digest.update(segment);
    digest.update("/");
  }
  digest.update("\n");
  digest.update(body);
  return digest.finish();
}

}  // namespace

exec_service::exec_service(context& shared, exec_settings settings)
    : own_core_(std::make_unique<exec_core>(shared, settings)),
      core_(own_core_.get()),
      account_{&shared.activity, &core_->budget, {}},
      table_(*core_, ops_, core_->budget) {
  base_.environment = inherited_environment();
  // A command that does not read its input must not end the agent.
  ::signal(SIGPIPE, SIG_IGN);
}

exec_service::exec_service(exec_core& core, run_account account, command_base base)
    : core_(&core),
      account_(std::move(account)),
      base_(std::move(base)),
      table_(core, ops_, *account_.budget) {}

json exec_service::features() const {
  json names = json::object();
  for (char const* name :
       {"op", "seq", "b64", "linger", "events", "wait", "signal", "stdin_b64", "stdin_stream",
        "tree_kill", "rlimits", "nice", "merge_stderr", "max_output", "exec_stage", "output_open"})
    names[name] = true;
  if (!base_.may_choose_user)
    names["user"] = "commands of this sandbox run as its own user";
  else if (::geteuid() == 0)
    names["user"] = true;
  else
    names["user"] = "the agent does not run as root";
  return names;
}

std::shared_ptr<run> exec_service::obtain(exchange& ex, std::string_view body,
                                          wire::exec_request request, bool foreground) {
  if (stopping_)
    throw http_error{503, "sandbox_expired", "the agent is ending"};
  if (closed_)
    throw http_error{400, "sandbox_expired", "sandbox has been deleted"};
  std::string const op = request.op;
  if (!op.empty()) {
    refuse_if_meant_for_another(ex);
    switch (ops_.begin(op, run_digest(ex, body)).what) {
      case op_registry::verdict::fresh:
        break;
      case op_registry::verdict::conflict:
        throw http_error{409, "conflict", "the operation id was used for another request"};
      case op_registry::verdict::full:
        throw http_error{503, "resource_exhausted", "too many operations to remember"};
      case op_registry::verdict::busy:
        if (auto found = table_.by_op(op))
          return found;
        [[fallthrough]];
      default:
        throw http_error{410, "output_gone", "the operation has ended and its result is forgotten"};
    }
  }
  if (!foreground)
    table_.trim_list();
  bool const reachable = !foreground || !op.empty() || request.input_stream;
  std::shared_ptr<run> started;
  try {
    started = std::make_shared<run>(*core_, account_, std::move(request), foreground);
    started->start(base_, reachable ? "p-" + std::to_string(core_->next_id) : std::string());
  } catch (...) {
    ops_.abandon(op);
    throw;
  }
  if (reachable)
    ++core_->next_id;
  table_.add(started);
  return started;
}

void exec_service::refuse_if_meant_for_another(exchange const& ex) const {
  auto const instance = ex.head().field("x-sandbox-instance");
  if (instance.empty() || instance == core_->shared.instance)
    return;
  json extra = json::object();
  extra["state"] = "unknown";
  throw http_error{409, "op_unknown", "the operation was sent to an agent that is no longer there",
                   std::move(extra)};
}

std::shared_ptr<run> exec_service::require(exchange const& ex, std::string const& id) const {
  refuse_if_meant_for_another(ex);
  auto found = table_.by_id(id);
  if (!found)
    throw http_error{404, "not_found", "no such process: " + id};
  return found;
}

asio::awaitable<void> exec_service::shutdown() {
  stopping_ = true;
  auto const self = ::getpid();
  auto const terminate = [self] { return signal_descendants(self, SIGTERM); };
  auto const count = [self] { return signal_descendants(self, 0); };
  auto const finish = [self] { return kill_descendants(self, std::chrono::milliseconds(600)); };
  using clock = std::chrono::steady_clock;
  auto const until = clock::now() + std::chrono::milliseconds(2000);
  std::size_t left = co_await run_blocking(core_->sweeper, terminate);
  if (!look_at_process(self)) {
    // Without /proc only the commands themselves are known.
    for (auto const& one : table_.running())
      one->kill();
  }
  asio::steady_timer pause(core_->shared.loop);
  while (left != 0 && clock::now() < until) {
    pause.expires_after(std::chrono::milliseconds(20));
    co_await pause.async_wait(asio::use_awaitable);
    left = co_await run_blocking(core_->sweeper, count);
  }
  if (left != 0)
    co_await run_blocking(core_->sweeper, finish);
  core_->children.collect();
  table_.stop();
}

}  // namespace hf::agent
