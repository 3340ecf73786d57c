/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The version that programs and the control socket tell; meson passes the project's. */
#ifndef XVM_VERSION_H
#define XVM_VERSION_H

#ifndef XVM_VERSION
#define XVM_VERSION "0.1.0"
#endif

#define XVM_SOCKET_PATH "/run/xvm-had/xvm-had.sock"
#define XVM_CONFIG_PATH "/etc/xvm-ha.yaml"
#define XVM_GROUP_CHANGE "xvm-ha"
#define XVM_GROUP_READ "xvm-ha-read"

#endif
