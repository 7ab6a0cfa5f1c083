#ifndef HF_SANDBOX_AGENT_HTTP_PEER_USER_HPP
#define HF_SANDBOX_AGENT_HTTP_PEER_USER_HPP

#include "detail/unique_fd.hpp"

#include <sys/types.h>

#include <optional>

namespace hf::agent {

/// Finds out which user of this machine is at the other end of a connection.
class peer_users {
 public:
  peer_users();

  /// Whether the kernel tells for TCP connections (NETLINK_SOCK_DIAG).
  [[nodiscard]] bool knows_tcp() const noexcept { return static_cast<bool>(netlink_); }

  enum class origin {
    /// From outside this machine's network and process namespaces, or the kernel does not tell.
    elsewhere,
    /// A process of this machine; `uid` is the owner of its socket.
    here,
    /// A connection from this machine that no process holds open any more.
    abandoned,
  };
  struct peer {
    origin from = origin::elsewhere;
    uid_t uid = 0;
  };
  /// Does not block.
  [[nodiscard]] peer look(int socket) const;

 private:
  [[nodiscard]] peer look_tcp(int socket) const;

  unique_fd netlink_;
};

}  // namespace hf::agent

#endif
