#include "http/peer_user.hpp"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

namespace hf::agent {
namespace {

struct query {
  nlmsghdr header;
  inet_diag_req_v2 request;
};

bool addresses_of(int socket, sockaddr_in& own, sockaddr_in& peer) {
  socklen_t own_size = sizeof own;
  socklen_t peer_size = sizeof peer;
  return ::getsockname(socket, reinterpret_cast<sockaddr*>(&own), &own_size) == 0 &&
         ::getpeername(socket, reinterpret_cast<sockaddr*>(&peer), &peer_size) == 0 &&
         own.sin_family == AF_INET && peer.sin_family == AF_INET;
}

// Asks for the peer's end of the connection: its source is our destination.
query ask_for(sockaddr_in const& own, sockaddr_in const& peer) {
  query ask{};
  ask.header.nlmsg_len = sizeof ask;
  ask.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  ask.header.nlmsg_flags = NLM_F_REQUEST;
  ask.request.sdiag_family = AF_INET;
  ask.request.sdiag_protocol = IPPROTO_TCP;
  ask.request.idiag_states = ~0U;
  ask.request.id.idiag_sport = peer.sin_port;
  ask.request.id.idiag_dport = own.sin_port;
  ask.request.id.idiag_src[0] = peer.sin_addr.s_addr;
  ask.request.id.idiag_dst[0] = own.sin_addr.s_addr;
  ask.request.id.idiag_cookie[0] = INET_DIAG_NOCOOKIE;
  ask.request.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  return ask;
}

}  // namespace

peer_users::peer_users()
    : netlink_(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG)) {
  // A kernel without the module answers every question with an error: ask for a connection that
  // cannot exist, and expect to hear just that.
  sockaddr_in nothing{};
  nothing.sin_port = htons(1);
  query const ask = ask_for(nothing, nothing);
  struct {
    nlmsghdr header;
    nlmsgerr error;
  } answer{};
  bool const works = netlink_ && ::send(netlink_.get(), &ask, sizeof ask, 0) == sizeof ask &&
                     ::recv(netlink_.get(), &answer, sizeof answer, 0) > 0 &&
                     answer.header.nlmsg_type == NLMSG_ERROR && answer.error.error == -ENOENT;
  if (!works)
    netlink_.reset();
}

peer_users::peer peer_users::look(int socket) const {
  int family = 0;
  socklen_t size = sizeof family;
  if (::getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &family, &size) != 0)
    return {};
  if (family != AF_UNIX)
    return netlink_ ? look_tcp(socket) : peer{};
  ucred credentials{};
  size = sizeof credentials;
  // A process outside this pid namespace has no number here.
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0 ||
      credentials.pid <= 0)
    return {};
  return {origin::here, credentials.uid};
}

peer_users::peer peer_users::look_tcp(int socket) const {
  sockaddr_in own{};
  sockaddr_in other{};
  if (!addresses_of(socket, own, other))
    return {};
  query const ask = ask_for(own, other);
  if (::send(netlink_.get(), &ask, sizeof ask, 0) != sizeof ask)
    return {};
  alignas(nlmsghdr) char buffer[4096];
  ssize_t const n = ::recv(netlink_.get(), buffer, sizeof buffer, 0);
  nlmsghdr header;
  inet_diag_msg found;
  if (n < static_cast<ssize_t>(NLMSG_HDRLEN + sizeof found))
    return {};
  std::memcpy(&header, buffer, sizeof header);
  if (header.nlmsg_type != SOCK_DIAG_BY_FAMILY)
    return {};
  std::memcpy(&found, buffer + NLMSG_HDRLEN, sizeof found);
  if (found.idiag_inode == 0)
    return {origin::abandoned, found.idiag_uid};
  return {origin::here, found.idiag_uid};
}

}  // namespace hf::agent
