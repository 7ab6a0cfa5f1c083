// The compiled parts of Asio and Beast; every other file only sees their declarations.
#include <boost/asio/impl/src.hpp>
#include <boost/beast/src.hpp>
