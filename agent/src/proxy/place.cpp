#include "proxy/place.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace hf::agent {

void throw_unreachable(std::uint16_t port, std::string const& why) {
  throw http_error(502, "connect_failed",
                   "cannot reach port " + std::to_string(port) + " in sandbox: " + why);
}

void throw_unreachable(std::uint16_t port, int error) {
  throw_unreachable(
      port, std::string(std::strerror(error)) + " (os error " + std::to_string(error) + ")");
}

unique_fd connect_in_home(file_root const& home, std::uint16_t port) {
  auto const fail = [port] { throw_unreachable(port, errno); };
  constexpr int directory = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  unique_fd const own(::openat(home.home.get(), ".sbx", directory));
  unique_fd const place(own ? ::openat(own.get(), "proxy", directory) : -1);
  std::string const name = std::to_string(port) + ".sock";
  unique_fd const node(place ? ::openat(place.get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC)
                             : -1);
  struct stat found {};
  if (!node || ::fstat(node.get(), &found) != 0)
    fail();
  if (!S_ISSOCK(found.st_mode) || !home.owner || found.st_uid != home.owner->user)
    throw_unreachable(port, "$SBX_PROXY_DIR/" + name + " is not a socket of this sandbox");

  unique_fd connection(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!connection)
    throw boost::system::system_error(errno, boost::system::system_category());
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  // Through the descriptor the inode that was looked at is reached, whatever the name means now.
  std::snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d", node.get());
  if (::connect(connection.get(), reinterpret_cast<sockaddr const*>(&address), sizeof address) != 0)
    fail();
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(connection.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
    fail();
  if (peer.uid != home.owner->user)
    throw_unreachable(port, "the server is not of this sandbox");
  return connection;
}

}  // namespace hf::agent
