<?php
session_start();
$_SESSION['visits'] = ($_SESSION['visits'] ?? 0) + 1;
header('Content-Type: application/json');
$upload = $_FILES['file'] ?? null;
echo json_encode([
    'visits' => $_SESSION['visits'],
    'host' => $_SERVER['HTTP_HOST'],
    'sha1' => $upload ? sha1_file($upload['tmp_name']) : null,
]);
