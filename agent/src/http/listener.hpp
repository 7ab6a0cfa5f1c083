#ifndef HF_SANDBOX_AGENT_HTTP_LISTENER_HPP
#define HF_SANDBOX_AGENT_HTTP_LISTENER_HPP

#include "detail/unique_fd.hpp"

#include <cstdint>
#include <string>

namespace hf::agent {

/// A non-blocking socket listening on 0.0.0.0; throws `std::runtime_error` with the reason.
unique_fd listen_on_port(std::uint16_t port);

/// The same on a unix socket of mode 0666: the directory's mode decides who gets there. A socket
/// that nobody listens on any more is replaced.
unique_fd listen_on_path(std::string const& path);

/// An inherited listening socket, made non-blocking.
unique_fd adopt_listener(int fd);

/// What the socket is bound to, for the line printed at start.
std::string describe_listener(int fd);

}  // namespace hf::agent

#endif
