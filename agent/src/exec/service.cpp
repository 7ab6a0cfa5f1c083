#include "exec/service.hpp"

#include "detail/run_blocking.hpp"
#include "exec/process_scan.hpp"
#include "exec/sweep.hpp"
#include "exec/users.hpp"

#include <hf/sandbox/error.hpp>
#include <hf/sandbox/wire/routes.hpp>

#include <boost/asio/error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace hf::agent {
exec_service::exec_service(context& shared, exec_settings settings)
    : own_core_(std::make_unique<exec_core>(shared, settings)),
      core_(own_core_.get()),
      account_{&shared.activity, &core_->budget, {}},
      table_(*core_, ops_, core_->budget) {
  base_.environment = inherited_environment();
  open_null_input();
  // A command that does not read its input must not end the agent.
  ::signal(SIGPIPE, SIG_IGN);
}

exec_service::exec_service(exec_core& core, run_account account, command_base base)
    : core_(&core),
      account_(std::move(account)),
      base_(std::move(base)),
      table_(core, ops_, *account_.budget) {}

exec_service::~exec_service() {
  give_up_starts();
}

void exec_service::close() {
  closed_ = true;
  give_up_starts();
}

bool exec_service::starts_are_over() const {
  return std::all_of(starts_.begin(), starts_.end(), [](auto const& one) { return one.expired(); });
}

void exec_service::give_up_starts() {
  while (!starting_.empty())
    std::shared_ptr<run>(starting_.begin()->second)->kill();
}

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

std::shared_ptr<run> exec_service::starting_by_op(std::string const& op) const {
  auto const it = starting_ops_.find(op);
  return it == starting_ops_.end() ? nullptr : starting_.at(it->second);
}

std::shared_ptr<run> exec_service::begin(incoming what, std::optional<identity> const& user,
                                         bool foreground) {
  std::string const op = what.request.op;
  if (!foreground)
    table_.trim_list();
  try {
    auto started = std::make_shared<run>(*core_, account_, std::move(what.request), foreground);
    started->start(base_, user, [this](run& one) { settled(one); });
    starting_.emplace(started.get(), started);
    std::erase_if(starts_, [](auto const& one) { return one.expired(); });
    starts_.push_back(started->start_under_way());
    if (!op.empty())
      starting_ops_.emplace(op, started.get());
    return started;
  } catch (...) {
    ops_.abandon(op);
    throw;
  }
}

void exec_service::settled(run& one) {
  auto const found = starting_.extract(&one);
  if (found.empty())
    return;
  starting_ops_.erase(one.op());
  if (one.start_failure()) {
    ops_.abandon(one.op());
    return;
  }
  if (!one.foreground() || !one.op().empty() || one.has_input_stream())
    one.name("p-" + std::to_string(core_->next_id++));
  table_.add(found.mapped());
}

asio::awaitable<std::shared_ptr<run>> exec_service::obtain(exchange& ex, incoming what,
                                                           bool foreground,
                                                           std::optional<attachment>* place) {
  std::optional<identity> user;
  if (what.request.user && base_.may_choose_user) {
    auto look_up = [name = *what.request.user] { return find_user(name); };
    user = co_await run_blocking(core_->shared.blocking, std::move(look_up));
  }
  if (stopping_)
    throw http_error{503, "sandbox_expired", "the agent is ending"};
  if (closed_)
    throw http_error{400, "sandbox_expired", "sandbox has been deleted"};
  std::string const op = what.request.op;
  std::shared_ptr<run> found;
  if (!op.empty()) {
    refuse_if_meant_for_another(ex);
    switch (ops_.begin(op, what.digest).what) {
      case op_registry::verdict::fresh:
        break;
      case op_registry::verdict::conflict:
        throw http_error{409, "conflict", "the operation id was used for another request"};
      case op_registry::verdict::full:
        throw http_error{503, "resource_exhausted", "too many operations to remember"};
      case op_registry::verdict::busy:
        found = table_.by_op(op);
        if (!found)
          found = starting_by_op(op);
        if (found)
          break;
        [[fallthrough]];
      default:
        throw http_error{410, "output_gone", "the operation has ended and its result is forgotten"};
    }
  }
  if (!found)
    found = begin(std::move(what), user, foreground);
  if (!found->starting())
    co_return found;
  if (place != nullptr) {
    place->emplace(found, 0);
    ex.on_caller_gone([place] { (*place)->leave(); });
  }
  while (found->starting() && (place == nullptr || !(*place)->left()))
    co_await found->changed().wait(ex.executor(), std::chrono::hours(1));
  // The caller is gone; who repeats the operation finds the run.
  if (found->starting())
    throw boost::system::system_error(asio::error::connection_aborted);
  if (auto const& failure = found->start_failure())
    throw *failure;
  co_return found;
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
    give_up_starts();
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
