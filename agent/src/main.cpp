#include "config.hpp"
#include "confine/entry.hpp"
#include "context.hpp"
#include "detail/landlock_abi.hpp"
#include "detail/random_id.hpp"
#include "exec/service.hpp"
#include "exec/start_slots.hpp"
#include "files/routes.hpp"
#include "host/registry.hpp"
#include "host/routes.hpp"
#include "http/listener.hpp"
#include "http/peer_user.hpp"
#include "http/router.hpp"
#include "http/server.hpp"
#include "info/routes.hpp"
#include "lifetime/hardening.hpp"
#include "lifetime/watchdog.hpp"
#include "proxy/routes.hpp"

#include <hf/sandbox/version.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <sys/time.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <optional>
#include <string>
#include <utility>

namespace {

using namespace hf::agent;

// When so many file operations hang, more are refused.
constexpr blocking_pool::options file_threads{4, 64, std::chrono::seconds(5)};

void print(std::FILE* to, std::string const& text) {
  std::fputs(text.c_str(), to);
}

void print_start_line(config const& settings, int listener) {
  int const abi = landlock_abi();
  std::string landlock = "UNAVAILABLE";
  if (abi > 0) {
    landlock = "abi " + std::to_string(abi) + " [";
    for (auto const& feature : landlock_features(abi))
      landlock += (landlock.back() == '[' ? "" : ",") + feature;
    landlock += "]";
  }
  print(stderr, "hf-sandbox-agent " HF_SANDBOX_VERSION_STRING " listening on " +
                    describe_listener(listener) +
                    (settings.host.enabled ? " (mode: host, auth: " : " (mode: dedicated, auth: ") +
                    (settings.token.empty() ? "DISABLED" : "required") + ", landlock: " + landlock +
                    ")\n");
}

unique_fd open_listener(config const& settings, confine::entry const& launched) {
  if (launched.listen_fd >= 0)
    return adopt_listener(launched.listen_fd);
  if (!settings.socket.empty())
    return listen_on_path(settings.socket);
  return listen_on_port(settings.port);
}

[[noreturn]] void leave(int code) {
  std::fflush(nullptr);
  // Nothing is unwound: what is left belongs to connections, and the kernel closes these.
  std::_Exit(code);
}

// The end must come even if a file operation hangs in the kernel or a command cannot be killed.
void leave_at_the_latest_in(int seconds) {
  std::signal(SIGALRM, [](int) { ::_exit(0); });
  itimerval timer{};
  timer.it_value.tv_sec = seconds;
  ::setitimer(ITIMER_REAL, &timer, nullptr);
}

int run_agent(int argc, char** argv) {
  confine::entry const launched = confine::enter(argc, argv);
  config settings = read_config(argc, argv);
  if (settings.show_help || settings.show_version) {
    print(stdout,
          settings.show_help ? help_text : "hf-sandbox-agent " HF_SANDBOX_VERSION_STRING "\n");
    return 0;
  }
  harden_process();
  start_slots::common().reserve();
  settings.allowed.connections = settings.max_connections.value_or(connections_by_limit());
  unique_fd listener = open_listener(settings, launched);
  int const listener_fd = listener.get();

  boost::asio::io_context loop(1);
  blocking_pool blocking(file_threads);
  activity active;
  context shared{loop, blocking, active, random_id()};
  router routes;
  agent_facts facts;
  facts.authentication = !settings.token.empty();
  facts.idle_timeout = settings.idle_timeout;
  facts.lifetime = settings.lifetime;
  facts.allowed = settings.allowed;
  facts.features["info"] = true;
  facts.features["instance"] = true;
  add_info_routes(routes, shared, facts);
  exec_service exec(shared, settings.exec);
  facts.features.update(files_features());
  facts.features.update(exec.features());
  server_options door;
  door.allowed = settings.allowed;
  door.token = settings.token;
  door.health_details = [&facts] { return health_details(facts); };
  std::optional<sandbox_registry> sandboxes;
  peer_users const peers;
  if (settings.host.enabled) {
    sandboxes.emplace(shared, exec.core(), settings.host);
    add_host_routes(routes, shared, *sandboxes);
    facts.sandboxes = [&sandboxes] { return sandboxes->size(); };
    facts.features.update(sandbox_features(peers.knows_tcp()));
    door.host_mode = true;
    door.authorise = [&](request_head const& head) {
      return is_authorised(head, settings.token, *sandboxes);
    };
    door.admits = [&](int socket) {
      auto const peer = peers.look(socket);
      return peer.from == peer_users::origin::elsewhere ||
             (peer.from == peer_users::origin::here && !sandboxes->is_sandbox_uid(peer.uid));
    };
    boost::asio::co_spawn(loop, sandboxes->evict_idle(), boost::asio::detached);
  } else {
    add_proxy_routes(routes, shared, "/v1", [](exchange&) { return proxy_place{}; });
    add_exec_routes(routes, "/v1", [&exec](exchange&) -> exec_service& { return exec; });
    add_files_routes(routes, shared);
  }
  server front(shared, routes, std::move(door), std::move(listener));

  bool ending = false;
  auto const end = [&]() -> void {
    if (ending)
      return;
    ending = true;
    leave_at_the_latest_in(3);
    front.stop_accepting();
    boost::asio::co_spawn(
        loop,
        [&]() -> boost::asio::awaitable<void> {
          co_await exec.shutdown();
          // The last events of what has just ended are still on their way.
          boost::asio::steady_timer last_words(loop, std::chrono::milliseconds(50));
          co_await last_words.async_wait(boost::asio::use_awaitable);
          loop.stop();
        },
        boost::asio::detached);
  };
  boost::asio::signal_set signals(loop);
  // As PID 1 of a namespace of its own the keeper ends the agent, and commands must not be able to.
  if (!launched.own_pid_namespace) {
    signals.add(SIGTERM);
    signals.add(SIGINT);
    signals.async_wait([&](boost::system::error_code failed, int) {
      if (!failed)
        end();
    });
  }
  auto const end_after = [&](boost::asio::awaitable<void> event) {
    boost::asio::co_spawn(loop, std::move(event), [&](std::exception_ptr) { end(); });
  };
  if (settings.lifetime)
    end_after(wait_until_expired(shared, *settings.lifetime));
  if (settings.idle_timeout)
    end_after(wait_until_idle(shared, *settings.idle_timeout));
  if (launched.keeper_fd >= 0)
    end_after(wait_until_orphaned(shared, launched.keeper_fd));

  front.start();
  if (settings.token.empty())
    print(stderr,
          "hf-sandbox-agent: WARNING: --allow-no-auth: everybody who can connect is let in\n");
  print_start_line(settings, listener_fd);
  for (;;) {
    try {
      loop.run();
      break;
    } catch (std::exception const& failed) {
      // One caller's bad luck (no memory for a coroutine) is not the end of the others.
      front.log().line(std::string("internal error: ") + failed.what());
    }
  }
  leave(0);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run_agent(argc, argv);
  } catch (std::exception const& failed) {
    std::fprintf(stderr, "hf-sandbox-agent: %s\n", failed.what());
    return 1;
  }
}
