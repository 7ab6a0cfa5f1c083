#ifndef HF_SANDBOX_AGENT_HTTP_SERVER_HPP
#define HF_SANDBOX_AGENT_HTTP_SERVER_HPP

#include "context.hpp"
#include "detail/unique_fd.hpp"
#include "http/deadlines.hpp"
#include "http/error_log.hpp"
#include "http/limits.hpp"
#include "http/router.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <array>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace hf::agent {

/// What the front door needs to know.
struct server_options {
  limits allowed = {};
  /// Empty: everybody is authorised.
  std::string token = {};
  /// Whether a request may go on; empty: with the token.
  std::function<bool(request_head const&)> authorise = {};
  /// Whether a new connection is let in; empty: each.
  std::function<bool(int socket)> admits = {};
  /// Whether this agent holds many sandboxes; only the words of a 404 depend on it.
  bool host_mode = false;
  /// The members of `/health` that only authorised callers see.
  std::function<json()> health_details = {};
};

/// Accepts connections and runs a session for each; shared by the sessions. Lives until the process
/// ends.
class server {
 public:
  server(context& shared, router const& routes, server_options options, unique_fd listener);

  /// Begins to accept.
  void start();
  /// Accepts nothing more, and lets no connection live on after the answer it is at.
  void stop_accepting();
  [[nodiscard]] bool stopping() const { return stopping_; }

  [[nodiscard]] context& shared() { return shared_; }
  [[nodiscard]] router const& routes() const { return routes_; }
  [[nodiscard]] server_options const& options() const { return options_; }
  [[nodiscard]] deadlines& timers() { return timers_; }
  [[nodiscard]] error_log& log() { return log_; }
  /// For one receive call; its content is gone with the next one on any connection.
  [[nodiscard]] std::array<char, 65536>& scratch() { return scratch_; }

 private:
  friend class session;
  boost::asio::awaitable<void> accept_loop();
  void admit(unique_fd socket);
  void refuse(unique_fd socket, std::string_view answer);
  void fill_reserve();
  boost::asio::awaitable<void> linger(unique_fd socket);

  context& shared_;
  router const& routes_;
  server_options options_;
  deadlines timers_;
  error_log log_;
  boost::asio::posix::stream_descriptor listener_;
  boost::asio::steady_timer pause_;
  // Given up when descriptors run out, so that connections can be told so.
  std::vector<unique_fd> reserve_;
  std::size_t reserved_;
  std::size_t sessions_ = 0;
  std::size_t lingering_ = 0;
  bool stopping_ = false;
  std::array<char, 65536> scratch_;
};

}  // namespace hf::agent

#endif
