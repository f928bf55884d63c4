//! Who may act in a namespace: one RoleBinding a role that has members, to a ClusterRole of the chart.
