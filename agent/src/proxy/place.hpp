#ifndef HF_SANDBOX_AGENT_PROXY_PLACE_HPP
#define HF_SANDBOX_AGENT_PROXY_PLACE_HPP

#include "detail/unique_fd.hpp"
#include "files/root.hpp"
#include "http/exchange.hpp"

#include <cstdint>
#include <functional>
#include <memory>

namespace hf::agent {

/// Where the servers of a sandbox listen.
struct proxy_place {
  /// Home whose `.sbx/proxy/<port>.sock` stands for a port; null: 127.0.0.1 of this machine.
  std::shared_ptr<file_root const> home = {};
};

/// The place that a request is about.
using proxy_place_of = std::function<proxy_place(exchange&)>;

/// Connects to the socket that stands for the port in a home. No symbolic link is followed on the
/// way, the socket must belong to the home's owner, and so must the process that listens; what is
/// exchanged for something else meanwhile is not reached. `http_error` 502 with the reason.
[[nodiscard]] unique_fd connect_in_home(file_root const& home, std::uint16_t port);

/// Throws the 502 for a port where nobody can be reached.
[[noreturn]] void throw_unreachable(std::uint16_t port, std::string const& why);
/// The same for a system error.
[[noreturn]] void throw_unreachable(std::uint16_t port, int error);

}  // namespace hf::agent

#endif
